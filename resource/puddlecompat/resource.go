package puddlecompat

import (
	"time"

	"github.com/respool/respool/resource"
)

// Resource is a resource of a [Pool]. As in puddle it is the same for all its
// holders, one after the other: after Release or Destroy it must not be used, and
// a use after that is noticed, with a panic, only until it is acquired again. A
// [resource.Lease] has no such trap.
type Resource[T any] struct {
	value    T
	created  time.Time
	lastUsed int64 // on the clock of nanotime

	// The holder's.
	lease  resource.Lease[*Resource[T]]
	status status
}

type status uint8

const (
	idle status = iota
	acquired
	hijacked
)

func newResource[T any]() *Resource[T] {
	return &Resource[T]{created: time.Now(), lastUsed: nanotime()}
}

// hold returns the resource that lease holds, as the caller's.
func hold[T any](lease resource.Lease[*Resource[T]]) *Resource[T] {
	res := lease.Value()
	res.lease, res.status = lease, acquired
	return res
}

func (res *Resource[T]) must(to string) {
	if res.status != acquired {
		panic("tried to " + to + " resource that is not acquired")
	}
}

func (res *Resource[T]) mustHave() {
	if res.status == idle {
		panic("tried to access resource that is not acquired or hijacked")
	}
}

// Value returns the resource's value.
func (res *Resource[T]) Value() T {
	res.mustHave()
	return res.value
}

// Release gives the resource back. It must not be used after that.
func (res *Resource[T]) Release() {
	res.must("release")
	res.status, res.lastUsed = idle, nanotime()
	res.lease.Release()
}

// ReleaseUnused gives the resource back without changing [Resource.LastUsedNanotime]
// or its position among the idle ones. It must not be used after that.
func (res *Resource[T]) ReleaseUnused() {
	res.must("release")
	res.status = idle
	res.lease.ReleaseUnused()
}

// Destroy gives the resource back to be destroyed, in the background. It must not
// be used after that.
func (res *Resource[T]) Destroy() {
	res.must("destroy")
	res.status = idle
	res.lease.Discard(nil)
}

// Hijack takes the resource out of the pool. Its value is the caller's to clean
// up.
func (res *Resource[T]) Hijack() {
	res.must("hijack")
	res.status = hijacked
	_, _ = res.lease.Hijack() // the lease holds: only this resource has it
}

// CreationTime returns when the making of the resource began.
func (res *Resource[T]) CreationTime() time.Time {
	res.mustHave()
	return res.created
}

// LastUsedNanotime returns when Release was last called, in nanoseconds of a
// monotonic clock, or when the making began if it never was. It is of use only
// beside others of its kind; see [Resource.IdleDuration].
func (res *Resource[T]) LastUsedNanotime() int64 {
	res.mustHave()
	return res.lastUsed
}

// IdleDuration returns how long ago that was.
func (res *Resource[T]) IdleDuration() time.Duration {
	res.mustHave()
	return time.Duration(nanotime() - res.lastUsed)
}

var clock = time.Now()

// nanotime is a monotonic clock that is past zero.
func nanotime() int64 { return int64(time.Since(clock)) + 1 }
