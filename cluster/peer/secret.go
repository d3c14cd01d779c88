package peer

import (
	"crypto/ed25519"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// serverName is in every node's certificate: which node it is does not matter, only that it is one.
const serverName = "node.perdure"

// MinSecret is the length of the shortest secret that is taken.
const MinSecret = 16

// rounds make a guess at the secret cost about a twentieth of a second.
const rounds = 200_000

// identity is what a node shows, and whom it believes.
type identity struct {
	cert  tls.Certificate
	trust *x509.CertPool
}

// newIdentity derives an identity from secrets that are separated by commas.
func newIdentity(secrets string) (*identity, error) {
	id := &identity{trust: x509.NewCertPool()}
	for i, secret := range strings.Split(secrets, ",") {
		secret = strings.TrimSpace(secret)
		if len(secret) < MinSecret {
			return nil, fmt.Errorf("peer: the secret has %d bytes, at least %d are needed", len(secret), MinSecret)
		}
		if i == maxSecrets {
			return nil, fmt.Errorf("peer: more than %d secrets", maxSecrets)
		}
		ca, key, err := authority(secret)
		if err != nil {
			return nil, err
		}
		id.trust.AddCert(ca)
		if i > 0 {
			continue
		}
		if id.cert, err = issue(ca, key); err != nil {
			return nil, err
		}
	}
	return id, nil
}

const maxSecrets = 4

// The validity of certificates: keys of nodes live as long as their process, and clocks may be wrong.
var (
	notBefore = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	notAfter  = time.Date(2120, 1, 1, 0, 0, 0, 0, time.UTC)
)

// authority returns the certificate authority of all who have the secret.
func authority(secret string) (*x509.Certificate, ed25519.PrivateKey, error) {
	seed, err := pbkdf2.Key(sha256.New, secret, []byte("perdure cluster 1"), rounds, ed25519.SeedSize)
	if err != nil {
		return nil, nil, fmt.Errorf("peer: %w", err)
	}
	key := ed25519.NewKeyFromSeed(seed)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "perdure cluster"}, NotBefore: notBefore, NotAfter: notAfter,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, MaxPathLenZero: true,
	}
	der, err := x509.CreateCertificate(nil, tmpl, tmpl, key.Public(), key) // Ed25519 takes no randomness
	if err != nil {
		return nil, nil, fmt.Errorf("peer: %w", err)
	}
	ca, err := x509.ParseCertificate(der)
	return ca, key, err
}

// issue makes this process's certificate.
func issue(ca *x509.Certificate, caKey ed25519.PrivateKey) (tls.Certificate, error) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("peer: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("peer: %w", err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: serverName}, DNSNames: []string{serverName},
		NotBefore: notBefore, NotAfter: notAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca, pub, caKey)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("peer: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

func (id *identity) server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, SessionTicketsDisabled: true,
		Certificates: []tls.Certificate{id.cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: id.trust,
	}
}

// caller is client for a connection for calls, if the other end knows such.
func (id *identity) caller() *tls.Config {
	c := id.client()
	c.NextProtos = []string{callsProto, "h2"}
	c.VerifyConnection = nil
	return c
}

func (id *identity) client() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: serverName, NextProtos: []string{"h2"},
		// Not Certificates: with them a node of another secret would be shown nothing, and
		// its refusal would come late.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &id.cert, nil },
		RootCAs:              id.trust,
		VerifyConnection: func(s tls.ConnectionState) error {
			if s.NegotiatedProtocol != "h2" {
				return errors.New("peer: the other end does not speak HTTP/2")
			}
			return nil
		},
	}
}
