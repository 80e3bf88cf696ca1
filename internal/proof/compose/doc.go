// Package compose tests random combinations of the admissions and evictions of package policy. It
// contains only tests:
//
//   - TestModel compares random nestings of All, Any, Reserve, Limit, Shares and others,
//     after each step of a random history, with sequential models. A failing history is
//     minimized, printed, and stored in a file that replays it.
//   - TestBalance uses random nestings from many goroutines, with refusals,
//     cancellations, panics and Goexits, and checks that all permits are returned.
//   - TestHorizon compares pools with a random nesting of evictions, with and without their
//     Horizon.
package compose
