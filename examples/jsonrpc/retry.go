package main

import (
	"context"
	"errors"

	"github.com/respool/respool/wspool"
)

// doIdempotent is Do, and Do once more if the connection ended meanwhile.
func doIdempotent(p *wspool.Pool, ctx context.Context, f func(context.Context, *wspool.Conn) error) error {
	err := p.Do(ctx, f)
	if errors.As(err, new(*wspool.CloseError)) {
		err = p.Do(ctx, f)
	}
	return err
}
