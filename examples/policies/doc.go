// Package policies shows the admissions of package policy with the libraries
// that they take: golang.org/x/time/rate, golang.org/x/sync/semaphore,
// github.com/sony/gobreaker/v2 and github.com/failsafe-go/failsafe-go. All of it
// is in its tests, which are run.
package policies
