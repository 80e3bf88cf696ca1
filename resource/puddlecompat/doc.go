// Package puddlecompat is the public API of github.com/jackc/puddle/v2 over a
// [resource.Pool]: a program that uses puddle, itself or in a package, can try
// this module's pool by changing one import.
//
//	import puddle "github.com/respool/respool/resource/puddlecompat"
//
// pgxpool is such a package. A replace directive in go.mod cannot change what it
// imports, since package resource itself is layered on puddle. A copy of pgx can:
//
//	cp -r $(go list -m -f '{{.Dir}}' github.com/jackc/pgx/v5) pgx && chmod -R u+w pgx
//	sed -i 's|"github.com/jackc/puddle/v2"|puddle "github.com/respool/respool/resource/puddlecompat"|' pgx/pgxpool/*.go
//	go mod edit -replace github.com/jackc/pgx/v5=./pgx && go mod tidy
//
// New code should use package resource: its leases cannot be confused with each
// other, and it has policies, which puddle leaves to its users.
//
// # What differs
//
// The public tests of puddle pass, except where TestPoolStatResources depends on
// the first of these; the tests do not cover the others:
//
//   - An acquire gets the first resource that is given back or created. puddle
//     ties it to the one that it creates. So fewer may be created than there are
//     callers.
//   - Acquires that wait fail with ErrClosedPool as soon as Close is called. In
//     puddle they wait for a resource first.
//   - While the constructor keeps failing (three times in a row) callers get its
//     last error at once and one call at a time is tried, at growing intervals;
//     in puddle each caller calls it. A pool without resources calls it at most
//     50 times at once until it has succeeded.
//   - A constructor error may reach another caller than the one for which it was
//     called, but no caller that a resource could still serve.
//   - A panic in the constructor is an error ([resource.PanicError]), one in the
//     destructor is contained. In puddle they end the process.
//   - Reset and Close apply to resources that are being created too.
//   - TryAcquire has its resource created with the context of the pool; puddle
//     gives the constructor the one of TryAcquire.
//   - A nil Constructor is an error of NewPool, and a nil Destructor does nothing.
//   - A resource that is being destroyed keeps its slot until the destructor returns,
//     but [Stat.TotalResources] leaves it out.
//   - [Resource.Destroy] ends the use of the resource: another method panics then.
package puddlecompat
