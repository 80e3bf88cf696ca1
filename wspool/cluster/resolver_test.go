package cluster_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/cluster"
)

// TestResolverThatNeverAnswers checks that New refuses it, and names the faults of its endpoints.
func TestResolverThatNeverAnswers(t *testing.T) {
	_, err := cluster.New(cluster.Config{
		Resolver: endpoint.Merge(endpoint.Static(endpoint.Endpoint{Addr: "a"}, endpoint.Endpoint{Addr: "a", Weight: -1})),
		Config:   func(endpoint.Endpoint) (wspool.Config, error) { return wspool.Config{}, nil },
		MaxTotal: 1,
	})
	if !errors.Is(err, endpoint.ErrConfig) || !errors.Is(err, endpoint.ErrInvalid) || !strings.Contains(err.Error(), "-1") {
		t.Errorf("got %v, want ErrConfig and ErrInvalid", err)
	}
}
