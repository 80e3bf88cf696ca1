// Package expo counts durations in buckets that grow by a constant factor, concurrently,
// without a lock and without floating point.
package expo

import "math/bits"

// PerOctave is the number of buckets between two powers of two.
const PerOctave = 16

// roots are 2^(k/16), with 63 bits after the point, rounded down. All but the first are
// irrational, so no integer equals one.
var roots = [PerOctave]uint64{
	0x8000000000000000, 0x85aac367cc487b14, 0x8b95c1e3ea8bd6e6, 0x91c3d373ab11c336,
	0x9837f0518db8a96f, 0x9ef5326091a111ad, 0xa5fed6a9b15138ea, 0xad583eea42a14ac6,
	0xb504f333f9de6484, 0xbd08a39f580c36be, 0xc5672a115506dadd, 0xce248c151f8480e3,
	0xd744fccad69d6af4, 0xe0ccdeec2a94e111, 0xeac0c6e7dd24392e, 0xf5257d152486cc2c,
}

// Index returns the bucket of v, which is at least 1. Values over 2^(i/16) and up to
// 2^((i+1)/16) have index i.
func Index(v uint64) int {
	e := bits.Len64(v) - 1
	mantissa := v << (63 - e)
	k := 0
	for step := PerOctave / 2; step > 0; step /= 2 {
		if mantissa > roots[k+step] {
			k += step
		}
	}
	if v&(v-1) == 0 { // a power of two is the end of the octave below
		k = -1
	}
	return e*PerOctave + k
}
