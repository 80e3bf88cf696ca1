// Package atomic stands for sync/atomic in a program under the scheduler.
package atomic

import (
	"unsafe"

	"github.com/respool/respool/internal/explore/sched"
)

// integer is what the integer types have in common.
type integer interface {
	~int32 | ~int64 | ~uint32 | ~uint64 | ~uintptr
}

type number[T integer] struct {
	o sched.Obj
	v T
}

func (x *number[T]) Load() T {
	sched.Before(&x.o, sched.Load)
	v := x.v
	sched.Read(&x.o)
	return v
}

func (x *number[T]) Store(v T) {
	sched.Before(&x.o, sched.Store)
	x.v = v
	sched.Write(&x.o)
}

func (x *number[T]) Swap(v T) (old T) {
	sched.Before(&x.o, sched.Swap)
	old, x.v = x.v, v
	sched.Write(&x.o)
	return old
}

func (x *number[T]) CompareAndSwap(old, v T) bool {
	sched.Before(&x.o, sched.CompareAndSwap)
	if x.v != old {
		sched.Read(&x.o)
		return false
	}
	x.v = v
	sched.Write(&x.o)
	return true
}

func (x *number[T]) Add(delta T) T {
	sched.Before(&x.o, sched.Add)
	x.v += delta
	v := x.v
	sched.Write(&x.o)
	return v
}

func (x *number[T]) And(mask T) (old T) {
	sched.Before(&x.o, sched.Add)
	old = x.v
	x.v &= mask
	sched.Write(&x.o)
	return old
}

func (x *number[T]) Or(mask T) (old T) {
	sched.Before(&x.o, sched.Add)
	old = x.v
	x.v |= mask
	sched.Write(&x.o)
	return old
}

// The integer types.
type (
	Int32   struct{ number[int32] }
	Int64   struct{ number[int64] }
	Uint32  struct{ number[uint32] }
	Uint64  struct{ number[uint64] }
	Uintptr struct{ number[uintptr] }
)

// Bool is atomic.Bool.
type Bool struct {
	o sched.Obj
	v bool
}

// Load is that of atomic.Bool.
func (x *Bool) Load() bool {
	sched.Before(&x.o, sched.Load)
	v := x.v
	sched.Read(&x.o)
	return v
}

// Store is that of atomic.Bool.
func (x *Bool) Store(v bool) {
	sched.Before(&x.o, sched.Store)
	x.v = v
	sched.Write(&x.o)
}

// Swap is that of atomic.Bool.
func (x *Bool) Swap(v bool) (old bool) {
	sched.Before(&x.o, sched.Swap)
	old, x.v = x.v, v
	sched.Write(&x.o)
	return old
}

// CompareAndSwap is that of atomic.Bool.
func (x *Bool) CompareAndSwap(old, v bool) bool {
	sched.Before(&x.o, sched.CompareAndSwap)
	if x.v != old {
		sched.Read(&x.o)
		return false
	}
	x.v = v
	sched.Write(&x.o)
	return true
}

// Pointer is atomic.Pointer.
type Pointer[T any] struct {
	o sched.Obj
	v *T
}

// Load is that of atomic.Pointer.
func (x *Pointer[T]) Load() *T {
	sched.Before(&x.o, sched.Load)
	v := x.v
	sched.Read(&x.o)
	return v
}

// Store is that of atomic.Pointer.
func (x *Pointer[T]) Store(v *T) {
	sched.Before(&x.o, sched.Store)
	x.v = v
	sched.Write(&x.o)
}

// Swap is that of atomic.Pointer.
func (x *Pointer[T]) Swap(v *T) (old *T) {
	sched.Before(&x.o, sched.Swap)
	old, x.v = x.v, v
	sched.Write(&x.o)
	return old
}

// CompareAndSwap is that of atomic.Pointer.
func (x *Pointer[T]) CompareAndSwap(old, v *T) bool {
	sched.Before(&x.o, sched.CompareAndSwap)
	if x.v != old {
		sched.Read(&x.o)
		return false
	}
	x.v = v
	sched.Write(&x.o)
	return true
}

// Value is atomic.Value.
type Value struct {
	o sched.Obj
	v any
}

// Load is that of atomic.Value.
func (x *Value) Load() any {
	sched.Before(&x.o, sched.Load)
	v := x.v
	sched.Read(&x.o)
	return v
}

// Store is that of atomic.Value.
func (x *Value) Store(v any) {
	sched.Before(&x.o, sched.Store)
	x.v = v
	sched.Write(&x.o)
}

// LoadPointer is that of sync/atomic.
func LoadPointer(p *unsafe.Pointer) unsafe.Pointer {
	o := sched.Raw(unsafe.Pointer(p))
	sched.Before(o, sched.Load)
	v := *p
	sched.Read(o)
	return v
}

// StorePointer is that of sync/atomic.
func StorePointer(p *unsafe.Pointer, v unsafe.Pointer) {
	o := sched.Raw(unsafe.Pointer(p))
	sched.Before(o, sched.Store)
	*p = v
	sched.Write(o)
}
