package caldav

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const calHref = "/dav/cal/"

// multi wraps responses into a multistatus.
func multi(responses string) string {
	return `<?xml version="1.0"?><d:multistatus xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav" xmlns:cs="http://calendarserver.org/ns/">` + responses + `</d:multistatus>`
}

// aCalendar answers any PROPFIND on a calendar.
var aCalendar = multi(`<d:response><d:href>` + calHref + `</d:href><d:propstat><d:prop>` +
	`<d:resourcetype><d:collection/><c:calendar/></d:resourcetype><cs:getctag>1</cs:getctag></d:prop>` +
	`<d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>`)

func statusOf(t *testing.T, err error) *StatusError {
	t.Helper()
	var status *StatusError
	if !errors.As(err, &status) {
		t.Fatalf("error is %v, want a StatusError", err)
	}
	return status
}

func TestNew(t *testing.T) {
	if _, err := New("http://example.org/", nil); !errors.Is(err, ErrInsecureHTTP) {
		t.Errorf("New with plain http = %v, want ErrInsecureHTTP", err)
	}
	for _, address := range []string{"http://127.0.0.1:80/", "http://localhost/dav/", "https://example.org/"} {
		if _, err := New(address, nil); err != nil {
			t.Errorf("New(%q) = %v", address, err)
		}
	}
	c, err := New("http://example.org/cloud/", &Options{InsecureHTTP: true})
	if err != nil || c.Origin() != "http://example.org" || c.Base() != "/cloud" {
		t.Errorf("New = %v %v, %v", c.Origin(), c.Base(), err)
	}
	if _, err := New("https://example.org", &Options{CAFile: filepath.Join(t.TempDir(), "none")}); err == nil {
		t.Error("New with a missing CA file succeeded")
	}
	if _, err := New("https://example.org", &Options{CAFile: "client_test.go"}); err == nil {
		t.Error("New with a CA file that holds no certificate succeeded")
	}
	if _, err := New("https://example.org", &Options{CAFile: "x", Transport: roundTripper(nil)}); err == nil {
		t.Error("New with a CA file and a transport succeeded")
	}
}

// TestTLS: an unknown authority is refused, one from a file believed.
func TestTLS(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusMultiStatus)
		io.WriteString(w, aCalendar)
	}))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.StartTLS()
	defer srv.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := New(srv.URL, &Options{CAFile: file})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := c.GetVersion(t.Context(), calHref); err != nil || v.CTag != "1" {
		t.Errorf("GetVersion with the CA file = %v, %v", v, err)
	}
	c, err = New(srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.GetVersion(t.Context(), calHref)
	var unknown *tls.CertificateVerificationError
	if !errors.As(err, &unknown) {
		t.Errorf("GetVersion without the CA file = %v, want a CertificateVerificationError", err)
	}
}

// TestKeepAlive: requests use one connection, and one that the server closed meanwhile
// costs no error, although net/http takes PROPFIND for a method that it must not repeat.
func TestKeepAlive(t *testing.T) {
	var opened atomic.Int32
	conns := make(chan net.Conn, 16)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := r.Header["Idempotency-Key"]; ok {
			t.Error("Idempotency-Key was sent")
		}
		w.WriteHeader(http.StatusMultiStatus)
		io.WriteString(w, aCalendar)
	}))
	srv.Config.ConnState = func(conn net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
			conns <- conn
		}
	}
	srv.Start()
	defer srv.Close()
	c, err := New(srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	version := func() {
		if _, err := c.GetVersion(t.Context(), calHref); err != nil {
			t.Error(err)
		}
	}
	for range 5 {
		version()
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("5 requests took %d connections, want 1", n)
	}
	(<-conns).Close()
	version()
	if n := opened.Load(); n != 2 {
		t.Errorf("%d connections after one was closed, want 2", n)
	}
}

// TestTimeout: a server that does not answer is left, and a write's outcome is unknown.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := roundTripper(func(req *http.Request) (*http.Response, error) {
			if req.Method == "PROPFIND" {
				return newResponseTo(req, 207, aCalendar), nil
			}
			<-req.Context().Done()
			return nil, req.Context().Err()
		})
		c := newTestClient(t, rt, func(o *Options) { o.Timeout = 5 * time.Second })
		start := time.Now()
		_, err := c.CreateObject(t.Context(), calHref+"a.ics", []byte("x"))
		var broken *TransportError
		if !errors.As(err, &broken) || !broken.Unknown || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 5*time.Second {
			t.Errorf("CreateObject = %v after %v", err, time.Since(start))
		}
		_, err = c.GetObject(t.Context(), calHref+"a.ics")
		if !errors.As(err, &broken) || broken.Unknown {
			t.Errorf("GetObject = %v, want a TransportError that is not Unknown", err)
		}
	})
}

// TestDiscover: the address may be the installation's, the service's, or the
// server's with the service at its root.
func TestDiscover(t *testing.T) {
	principal := func(at, principal, home string) map[string]string {
		prop := func(name, href string) string {
			return multi(`<d:response><d:href>` + href + `</d:href><d:propstat><d:prop>` + name + `</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>`)
		}
		return map[string]string{
			at:        prop(`<d:current-user-principal><d:href>`+principal+`</d:href></d:current-user-principal>`, at),
			principal: prop(`<c:calendar-home-set><d:href>`+home+`</d:href></c:calendar-home-set>`, principal),
		}
	}
	for _, tt := range []struct {
		name, base string
		pages      map[string]string
		home       string
		want       error
	}{
		{"sub-path", "/nextcloud", principal("/nextcloud/remote.php/dav/", "/nextcloud/p/u/", "/nextcloud/c/u/"), "/nextcloud/c/u/", nil},
		{"service", "/nextcloud/remote.php/dav", principal("/nextcloud/remote.php/dav/", "/p/u/", "/c/u"), "/c/u/", nil},
		{"root", "", principal("/", "/u/", "/u/calendars/"), "/u/calendars/", nil},
		{"well-known", "", principal("/.well-known/caldav", "/u/", "calendars/"), "/u/calendars/", nil},
		{"nothing", "/x", nil, "", ErrNotCalDAV},
		{"a web page", "", map[string]string{"/": "<!DOCTYPE html><html></html>", "/.well-known/caldav": "<html><body>"}, "", ErrNotCalDAV},
	} {
		rt := roundTripper(func(req *http.Request) (*http.Response, error) {
			if body, ok := tt.pages[req.URL.Path]; ok && req.Method == "PROPFIND" {
				return newResponseTo(req, 207, body), nil
			}
			return newResponseTo(req, 404, ""), nil
		})
		c, err := New(testServer+tt.base, &Options{Transport: rt})
		if err != nil {
			t.Fatal(err)
		}
		home, err := c.Discover(t.Context())
		if !errors.Is(err, tt.want) || err == nil && home.Sets[0] != tt.home {
			t.Errorf("%s: Discover = %+v, %v, want %s, %v", tt.name, home, err, tt.home, tt.want)
		}
	}
}
