package suite

import (
	"context"
	"errors"
	"net/http"

	coder "github.com/coder/websocket"

	"github.com/respool/respool/wspool"
)

// coderConns are n connections of coder's.
func coderConns(ctx context.Context, a address, scheme string, n int) (all []*coder.Conn, end func() error, err error) {
	secure, err := a.tlsConfig()
	if err != nil {
		return nil, nil, err
	}
	dials := &http.Transport{TLSClientConfig: secure}
	client := &http.Client{Transport: dials, Timeout: wspool.DefaultDialTimeout}
	end = func() (err error) {
		for _, c := range all {
			err = errors.Join(err, c.Close(coder.StatusNormalClosure, ""))
		}
		dials.CloseIdleConnections()
		return err
	}
	for range n {
		c, _, err := coder.Dial(ctx, a.url(scheme), &coder.DialOptions{HTTPClient: client})
		if err != nil {
			return nil, nil, errors.Join(err, end())
		}
		all = append(all, c)
	}
	return all, end, nil
}

// coderAskers have one each.
func coderAskers(ctx context.Context, a address, scheme string, n int) ([]asker, func() error, error) {
	all, end, err := coderConns(ctx, a, scheme, n)
	if err != nil {
		return nil, nil, err
	}
	ask := make([]asker, n)
	for i, c := range all {
		ask[i] = func(ctx context.Context, exchanges int) error { return askCoder(ctx, c, exchanges) }
	}
	return ask, end, nil
}

func askCoder(ctx context.Context, c *coder.Conn, exchanges int) error {
	for range exchanges {
		if err := c.Write(ctx, coder.MessageBinary, question); err != nil {
			return err
		}
		_, got, err := c.Read(ctx)
		if err := answered(got, err); err != nil {
			return err
		}
	}
	return nil
}
