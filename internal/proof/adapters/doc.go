// Package adapters holds the adapters of package policy, each around the library
// that it is made for, to what package policytest asks of an admission. It has
// no code of its own, only tests, and is here so that the libraries are nobody
// else's.
package adapters
