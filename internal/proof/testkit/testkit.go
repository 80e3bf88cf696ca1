// Package testkit has what the tests of the packages of this module share: settings from
// the environment, and certificates.
package testkit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"testing"
	"time"
)

// SetRapidChecks sets the number of scripts of each rapid test. The default of 100 is low
// for their cost. The command line and RAPID_CHECKS take precedence. Call it from TestMain.
func SetRapidChecks(n int) {
	if _, set := os.LookupEnv("RAPID_CHECKS"); set {
		return
	}
	if err := flag.Set("rapid.checks", strconv.Itoa(n)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

// Seed returns RESPOOL_SEED, or a random seed, and logs it. It repeats the random choices
// of a run, but not its interleaving.
func Seed(t testing.TB) uint64 {
	t.Helper()
	n := rand.Uint64()
	if s, set := os.LookupEnv("RESPOOL_SEED"); set {
		v, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("RESPOOL_SEED: %v", err)
		}
		n = v
	}
	t.Logf("RESPOOL_SEED=%d", n)
	return n
}

// StressTime returns the duration of a stress test: RESPOOL_STRESS, or two seconds.
func StressTime(t testing.TB) time.Duration {
	t.Helper()
	s, set := os.LookupEnv("RESPOOL_STRESS")
	if !set {
		return 2 * time.Second
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("RESPOOL_STRESS: %v", err)
	}
	return d
}

// Certificate creates a certificate for loopback and returns the configurations of both
// ends. That of httptest has an RSA key, whose handshake takes ten times as long.
func Certificate(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	server, client, err := NewCertificate()
	if err != nil {
		t.Fatal(err)
	}
	return server, client
}

// NewCertificate is Certificate for a program.
func NewCertificate() (server, client *tls.Config, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(crand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return server, &tls.Config{RootCAs: roots}, nil
}
