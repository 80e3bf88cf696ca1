package cluster_test

import (
	"strings"
	"testing"

	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/wspool/cluster"
)

// The text of an endpoint's statistics has its address without what may be a secret.
func TestEndpointStats_NoSecrets(t *testing.T) {
	for _, addr := range []string{"wss://me:s3cret@a.example/socket?token=s3cret", "wss://me:" + strings.Repeat("s3cret", 50) + "@a.example/socket"} {
		text := cluster.EndpointStats{State: endpoint.State{Endpoint: endpoint.Endpoint{Addr: addr}}}.String()
		if strings.Contains(text, "s3cret") || !strings.Contains(text, "a.example/socket") {
			t.Errorf("it is %q", text)
		}
	}
}
