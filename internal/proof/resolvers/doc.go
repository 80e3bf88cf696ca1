// Package resolvers tests the resolvers of package endpoint with random histories of answers:
// good ones, capped, partial, empty and invalid ones, failures, panics, and lookups that hang. It
// contains only tests. They run in virtual time, and also on resolvers with planted faults, which
// the tests must detect.
package resolvers
