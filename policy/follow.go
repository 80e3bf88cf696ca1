package policy

import "github.com/respool/respool/resource"

// Policies that have others in them pass on to these how the maximum of the pool
// was changed: each FollowSize implements [resource.SizeFollower].

// follow tells p, if it follows the maximum.
func follow(p resource.Admission, from, to int) {
	if f, ok := p.(resource.SizeFollower); ok {
		f.FollowSize(from, to)
	}
}

// FollowSize tells all members.
func (ps allAdmissions) FollowSize(from, to int) {
	for _, p := range ps {
		follow(p, from, to)
	}
}

// FollowSize tells all members.
func (ps anyAdmission) FollowSize(from, to int) {
	for _, p := range ps {
		follow(p, from, to)
	}
}

// FollowSize tells what is named.
func (p *named) FollowSize(from, to int) { follow(p.p, from, to) }

// FollowSize tells what is reserved of.
func (s *reserve) FollowSize(from, to int) { follow(s.Gauged, from, to) }
