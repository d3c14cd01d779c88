package caldav

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestRedirects: within the origin method, body and credential are kept; out of it is an
// error, and nothing is sent.
func TestRedirects(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("another origin was asked") }))
	defer elsewhere.Close()
	for _, tt := range []struct {
		name     string
		status   int
		location string
		read     bool // PROPFIND follows
		write    bool // PUT follows
	}{
		{"absolute path", 301, "/dav/cal2/", true, false},
		{"302", 302, "/dav/cal2/", true, false},
		{"307", 307, "/dav/cal2/", true, true},
		{"308", 308, "../cal2/", false, false}, // a dot segment
		{"303 is not followed", 303, "/dav/cal2/", false, false},
		{"own origin", 308, "SELF/dav/cal2/", true, true},
		{"other port", 301, elsewhere.URL + "/dav/cal/", false, false},
		{"other host", 307, "http://example.org/dav/", false, false},
		{"other scheme", 308, "https" + strings.TrimPrefix(elsewhere.URL, "http"), false, false},
		{"scheme-relative", 301, "//example.org/dav/cal/", false, false},
		{"loop", 308, "/dav/cal/", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var methods []string
			var self string
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				user, _, _ := r.BasicAuth()
				methods = append(methods, fmt.Sprintf("%s %s %s %t", r.Method, r.URL.Path, user, len(body) > 0))
				if strings.HasPrefix(r.URL.Path, "/dav/cal2/") {
					w.WriteHeader(http.StatusMultiStatus)
					io.WriteString(w, aCalendar)
					return
				}
				w.Header().Set("Location", strings.Replace(tt.location, "SELF", self, 1))
				w.WriteHeader(tt.status)
			}))
			defer srv.Close()
			self = srv.URL
			c, err := New(srv.URL, &Options{Credential: Credential{testUser, testSecret}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.GetVersion(t.Context(), calHref)
			if (err == nil) != tt.read {
				t.Errorf("PROPFIND = %v, want success %t", err, tt.read)
			}
			checkAway(t, err, tt.location)
			if tt.read && (len(methods) != 2 || methods[1] != "PROPFIND /dav/cal2/ alice true") {
				t.Errorf("requests %q", methods)
			}
			methods = nil
			err = c.exchange(t.Context(), &request{method: "PUT", href: "/dav/cal/x.ics", body: []byte("x")}, func(*answer) error { return nil })
			if (err == nil) != tt.write {
				t.Errorf("PUT = %v, want success %t", err, tt.write)
			}
			if tt.write && methods[1] != "PUT /dav/cal2/ alice true" {
				t.Errorf("requests %q", methods)
			}
		})
	}
}

func checkAway(t *testing.T, err error, location string) {
	t.Helper()
	away := strings.Contains(location, "//") && !strings.HasPrefix(location, "SELF")
	var origin *OriginError
	if errors.As(err, &origin) != away {
		t.Errorf("redirect to %s: %v, want an OriginError: %t", location, err, away)
	}
}

// TestForeignHref: an href in an answer chooses no host either.
func TestForeignHref(t *testing.T) {
	var body string
	rt := roundTripper(func(req *http.Request) (*http.Response, error) {
		if req.URL.Host != "cloud.example.org" {
			t.Errorf("request to %s", req.URL.Host)
		}
		return newResponseTo(req, 207, body), nil
	})
	c := newTestClient(t, rt, nil)
	for name, tt := range map[string]struct {
		body string
		call func() error
	}{
		"response": {
			multi(`<d:response><d:href>https://evil.example/dav/cal/</d:href></d:response>`),
			func() error { _, err := c.GetVersion(t.Context(), calHref); return err },
		},
		"principal": {
			multi(`<d:response><d:href>/</d:href><d:propstat><d:prop><d:current-user-principal><d:href>https://evil.example/p/</d:href></d:current-user-principal></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>`),
			func() error { _, err := c.Discover(t.Context()); return err },
		},
		"home": {
			multi(`<d:response><d:href>/</d:href><d:propstat><d:prop><d:current-user-principal><d:href>/p/</d:href></d:current-user-principal><c:calendar-home-set><d:href>//evil.example/</d:href></c:calendar-home-set></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>`),
			func() error { _, err := c.Discover(t.Context()); return err },
		},
	} {
		body = tt.body
		err := tt.call()
		var away *OriginError
		if !errors.As(err, &away) || away.Target != "https://evil.example" {
			t.Errorf("%s: %v, want an OriginError", name, err)
		}
	}
	// A foreign owner is a fact and no address.
	body = strings.Replace(aCalendar, "<cs:getctag>", "<d:owner><d:href>https://evil.example/p/</d:href></d:owner><cs:getctag>", 1)
	if cal, err := c.GetCalendar(t.Context(), calHref); err != nil || cal.Owner != "https://evil.example/p/" {
		t.Errorf("GetCalendar = %+v, %v", cal, err)
	}
}
