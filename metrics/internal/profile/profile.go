// Package profile writes profiles in the format of go tool pprof, gzipped
// profile.proto, from stacks of function names.
package profile

import (
	"compress/gzip"
	"io"
	"time"
)

// Frame is one call in a stack.
type Frame struct {
	Func string
	File string
	Line int
}

// Type is the name and the unit of a value of each sample, as pprof shows them.
type Type struct{ Name, Unit string }

// Profile builds a profile; see New. It is not safe for concurrent use.
type Profile struct {
	out       message
	strings   map[string]int64
	table     []string
	functions map[function]uint64
	locations map[Frame]uint64
}

type function struct{ name, file string }

// Field numbers of profile.proto.
const (
	profileSampleType, profileSample, profileLocation, profileFunction = 1, 2, 4, 5
	profileStringTable, profileTimeNanos, profileDefaultType           = 6, 9, 14
	valueTypeType, valueTypeUnit                                       = 1, 2
	sampleLocation, sampleValue, sampleLabel, labelKey, labelString    = 1, 2, 3, 1, 2
	locationID, locationLine, lineFunction, lineLine                   = 1, 4, 1, 2
	functionID, functionName, functionSystemName, functionFile         = 1, 2, 3, 4
)

// New returns an empty profile whose samples have a value of each of types. pprof shows
// the first type by default.
func New(at time.Time, types ...Type) *Profile {
	p := &Profile{
		strings: make(map[string]int64), functions: make(map[function]uint64), locations: make(map[Frame]uint64),
	}
	p.string("") // must be the first string
	for _, t := range types {
		var m message
		m.int(valueTypeType, p.string(t.Name))
		m.int(valueTypeUnit, p.string(t.Unit))
		p.out.bytes(profileSampleType, m)
	}
	p.out.int(profileTimeNanos, at.UnixNano())
	if len(types) > 0 {
		p.out.int(profileDefaultType, p.string(types[0].Name))
	}
	return p
}

// Add adds a sample: a stack, innermost first, a label, and a value of each type.
func (p *Profile) Add(stack []Frame, key, label string, values ...int64) {
	var locations, numbers, tag, s message
	for _, f := range stack {
		locations.varint(p.location(f))
	}
	for _, v := range values {
		numbers.varint(uint64(v))
	}
	tag.int(labelKey, p.string(key))
	tag.int(labelString, p.string(label))
	s.bytes(sampleLocation, locations)
	s.bytes(sampleValue, numbers)
	s.bytes(sampleLabel, tag)
	p.out.bytes(profileSample, s)
}

// WriteTo writes the profile, which must not be used afterwards.
func (p *Profile) WriteTo(w io.Writer) (int64, error) {
	for _, s := range p.table {
		p.out.bytes(profileStringTable, message(s))
	}
	c := counter{w: w}
	z := gzip.NewWriter(&c)
	if _, err := z.Write(p.out); err != nil {
		return c.n, err
	}
	return c.n, z.Close()
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

func (p *Profile) string(s string) int64 {
	i, known := p.strings[s]
	if !known {
		i = int64(len(p.table))
		p.strings[s] = i
		p.table = append(p.table, s)
	}
	return i
}

func (p *Profile) location(f Frame) uint64 {
	id, known := p.locations[f]
	if known {
		return id
	}
	id = uint64(len(p.locations) + 1)
	p.locations[f] = id
	var line, m message
	line.int(lineFunction, int64(p.function(function{f.Func, f.File})))
	line.int(lineLine, int64(f.Line))
	m.int(locationID, int64(id))
	m.bytes(locationLine, line)
	p.out.bytes(profileLocation, m)
	return id
}

func (p *Profile) function(f function) uint64 {
	id, known := p.functions[f]
	if known {
		return id
	}
	id = uint64(len(p.functions) + 1)
	p.functions[f] = id
	var m message
	m.int(functionID, int64(id))
	m.int(functionName, p.string(f.name))
	m.int(functionSystemName, p.string(f.name))
	m.int(functionFile, p.string(f.file))
	p.out.bytes(profileFunction, m)
	return id
}

// message builds a protocol buffer.
type message []byte

func (m *message) varint(v uint64) {
	for v >= 0x80 {
		*m = append(*m, byte(v)|0x80)
		v >>= 7
	}
	*m = append(*m, byte(v))
}

func (m *message) int(field int, v int64) {
	m.varint(uint64(field) << 3)
	m.varint(uint64(v))
}

func (m *message) bytes(field int, b []byte) {
	m.varint(uint64(field)<<3 | 2)
	m.varint(uint64(len(b)))
	*m = append(*m, b...)
}
