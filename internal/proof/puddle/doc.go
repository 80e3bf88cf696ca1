// Package puddle runs the public tests of github.com/jackc/puddle/v2, read from the module
// cache, on package puddlecompat. It contains only that test.
package puddle
