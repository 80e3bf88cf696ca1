//go:build race

package puddle

const race = true
