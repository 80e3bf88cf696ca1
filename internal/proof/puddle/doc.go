// Package puddle holds package puddlecompat to the public tests of
// github.com/jackc/puddle/v2, taken from the module cache. There is nothing in it
// but that test.
package puddle
