// Package compose holds the admissions of package policy, put together at
// random, to what they promise. It has no code of its own, only tests:
//
//   - TestModel compares random nestings of All, Any, Reserve, Limit, Shares and
//     the like, after each step of a random history, with plain sequential
//     models of them. A failing history is printed, made small, and kept in a
//     file that replays it.
//   - TestBalance lets many goroutines ask random nestings, with refusals,
//     cancellations, panics and Goexits on the way, and counts what is left.
package compose
