// Package making lets a function that creates a resource tell the creation from the life of
// the resource.
//
// The context of resource.Config.Make lives as long as the resource. A context derived from
// it, for a dial for instance, leaves a map and a channel in it for good. So there is a
// second context, which is dropped when the creation is over.
package making

import "context"

type key struct{}

// With returns a context that lives as long as life and has its values, and which [Context]
// finds creation through.
func With(life, creation context.Context) context.Context {
	return context.WithValue(life, key{}, creation)
}

// Context returns the creation's context, given that of Make or one derived from it. It ends,
// with the same cause, when the context of Make ends while Make runs, and has the same values
// but those that were added since. Nothing ends it when Make has returned. Given any other
// context, Context returns that.
func Context(ctx context.Context) context.Context {
	if c, ok := ctx.Value(key{}).(context.Context); ok {
		return c
	}
	return ctx
}
