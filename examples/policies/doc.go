// Package policies shows the admissions of package policy with the libraries that they
// adapt: golang.org/x/time/rate, golang.org/x/sync/semaphore,
// github.com/sony/gobreaker/v2 and github.com/failsafe-go/failsafe-go. It consists of
// tested examples.
package policies
