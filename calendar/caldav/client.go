package caldav

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"
)

// Options of a client. The zero value of each field is the default.
type Options struct {
	// Credential is sent with every request; none by default.
	Credential Credential

	// Transport carries the requests. By default it is one of the client's own, with
	// keep-alive and verified TLS. One that is given decides about TLS itself, and RootCAs
	// and CAFile must not be set. It may be a handler in the same process.
	Transport http.RoundTripper

	// RootCAs are the authorities to believe; the system's by default.
	RootCAs *x509.CertPool

	// CAFile is a PEM file of further authorities, believed besides RootCAs or the system's.
	CAFile string

	// InsecureHTTP allows plain http to other machines than this one.
	InsecureHTTP bool

	// UserAgent is "perdure" by default.
	UserAgent string

	// Concurrency is how many requests run at a time towards the server, over all users; 6
	// by default.
	Concurrency int

	// Timeout is for one request with its answer, waits not counted; a minute by default.
	Timeout time.Duration

	// MaxWait is the longest pause that is waited out when a server asks for one; longer
	// ones are an error at once. 30 seconds by default.
	MaxWait time.Duration

	// MultigetChunk is how many objects one request asks for; 100 by default.
	MultigetChunk int

	// MaxListing limits an answer that lists things, MaxObject an object; 64 MiB and 10 MiB
	// by default, in bytes after decompression.
	MaxListing int64
	MaxObject  int64

	// Logger gets a line a request at level debug, without credentials or bodies, and a
	// warning when a credential is refused; nil
	// discards.
	Logger *slog.Logger
}

// Client speaks CalDAV with one server as one user. It may be used by several goroutines
// at once. There is nothing to close: idle connections end by themselves.
type Client struct {
	server  *server
	account *account
	hushed  bool // see Quiet
	careful bool // see ReadingBack
}

// Quiet returns the client as one whose writes of objects participants do not hear of, if
// the server can be asked for that: sabre/dav, and with it Nextcloud, heeds what RFC 6638,
// section 8.1, has for deletions at every write, and Nextcloud and Cyrus have words of their
// own. Whether the server is known to heed any says [Home.KeepsQuiet].
func (c *Client) Quiet() *Client {
	quiet := *c
	quiet.hushed = true
	return &quiet
}

// ReadingBack returns the client as one that reads back each object that it wrote, be there
// an entity tag in the answer or not. An entity tag promises that the data is stored as it
// was sent (RFC 4791, section 5.3.4); servers that write it anew and give one all the same
// are Radicale, Xandikos and Cyrus. Whether the server is known to do better says [Home.StoresAsSent].
func (c *Client) ReadingBack() *Client {
	careful := *c
	careful.careful = true
	return &careful
}

// server is what all users of one server share.
type server struct {
	origin    origin
	base      string // the path that was typed, without last slash
	http      *http.Client
	pace      pace
	accounts  accounts
	userAgent string
	timeout   time.Duration
	maxWait   time.Duration
	chunk     int
	listing   int64
	object    int64
	log       *slog.Logger
}

// New returns a client for the server at an address, as typed by a person: the server's
// own, its CalDAV service's, or that of an installation under a path. Nothing is sent yet.
//
// Errors: ErrInsecureHTTP, an address that is none, a CAFile that can't be read.
func New(address string, opts *Options) (*Client, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	org, base, err := parseBase(address)
	if err != nil {
		return nil, err
	}
	if org.scheme == "http" && !org.loopback() && !o.InsecureHTTP {
		return nil, fmt.Errorf("%w: %s", ErrInsecureHTTP, org)
	}
	s := &server{
		origin:    org,
		base:      base,
		userAgent: or(o.UserAgent, "perdure"),
		timeout:   or(o.Timeout, time.Minute),
		maxWait:   or(o.MaxWait, 30*time.Second),
		chunk:     or(o.MultigetChunk, 100),
		listing:   or(o.MaxListing, 64<<20),
		object:    or(o.MaxObject, 10<<20),
		log:       or(o.Logger, slog.New(slog.DiscardHandler)),
	}
	concurrency := or(o.Concurrency, 6)
	s.pace.slots = make(chan struct{}, concurrency)
	transport := o.Transport
	if transport == nil {
		if transport, err = newTransport(&o, concurrency); err != nil {
			return nil, err
		}
	} else if o.RootCAs != nil || o.CAFile != "" {
		return nil, fmt.Errorf("caldav: RootCAs and CAFile have no effect on a Transport that is given")
	}
	// No jar: cookies would make Nextcloud count calendar creations, and mix users.
	// Redirects are followed by hand, see follow.
	s.http = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Client{server: s, account: s.accounts.of(o.Credential)}, nil
}

func or[T comparable](v, preset T) T {
	var zero T
	if v == zero {
		return preset
	}
	return v
}

// As returns a client for another user of the same server. It shares connections, bounds
// and what is known about credentials with c.
func (c *Client) As(cred Credential) *Client {
	return &Client{server: c.server, account: c.server.accounts.of(cred)}
}

// Forget makes the client try its credential again although the server refused it: a
// person has said so, having changed something on the server. A changed password needs no
// Forget, as it is another credential.
func (c *Client) Forget() {
	c.account.mu.Lock()
	c.account.refused = false
	c.account.mu.Unlock()
}

// Origin returns scheme, host and port of the server, as configured.
func (c *Client) Origin() string { return c.server.origin.String() }

// Base returns the path of the address that New was given, without its last slash: "" for
// a server's root.
func (c *Client) Base() string { return c.server.base }

func newTransport(o *Options, concurrency int) (*http.Transport, error) {
	roots := o.RootCAs
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("caldav: CA file: %w", err)
		}
		if roots == nil {
			if roots, err = x509.SystemCertPool(); err != nil {
				roots = x509.NewCertPool()
			}
		} else {
			roots = roots.Clone()
		}
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("caldav: CA file %s holds no certificate", o.CAFile)
		}
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           concurrency,
		MaxIdleConnsPerHost:    concurrency,
		MaxConnsPerHost:        concurrency,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}, nil
}
