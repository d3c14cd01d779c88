package worker

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// status sends a request without a body.
func (w *Worker) status(method, path, host string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.Host = host
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	rw := httptest.NewRecorder()
	w.ServeHTTP(rw, r)
	return rw
}

// paths are one of each kind that are checked, with what a request of me gets that is let in.
var paths = map[string]int{
	"/nothing": 404, "/objects/NOPE/a/b": 404, "/dav/": 405, "/api/nothing": 404, "/.well-known/caldav": 301,
}

func TestHosts(t *testing.T) {
	b := newBed(t, Options{})
	allowed := []string{"Cal.Example", "other.example:8080", "[2001:DB8::1]", "[2001:db8::2]:443", "2001:db8::3", ":80"}
	for _, tt := range []struct {
		host            string
		open, withToken bool
	}{
		{"localhost", true, true}, {"LOCALHOST:8080", true, true}, {"127.0.0.1", true, true}, {"127.1.2.3:1", true, true},
		{"[::1]", true, true}, {"[::1]:80", true, true},
		{"cal.example", true, true}, {"CAL.example:1234", true, true},
		{"other.example", true, true}, {"other.example:8080", true, true}, {"Other.Example:9", true, true},
		{"[2001:db8::1]", true, true}, {"[2001:DB8::1]:80", true, true}, {"[2001:db8::2]", true, true}, {"[2001:db8::3]:80", true, true},
		{"10.0.0.1", false, true}, {"10.0.0.1:8787", false, true}, {"[2001:db8::4]", false, true},
		{"evil.example", false, false}, {"cal.example.evil", false, false}, {"xcal.example", false, false}, {"localhost.evil", false, false},
		{"", false, false}, {":80", false, false}, {"user@localhost", false, false}, {"10.0.0.1.evil.example", false, false},
	} {
		for _, token := range []string{"", "secret"} {
			w := New(b.Runtime.Runtime, &Options{AllowedHosts: allowed, Token: token, DAV: true, Link: b.opts.Link})
			want := token == "" && tt.open || token != "" && tt.withToken
			for path := range paths {
				rw := w.status("GET", path, tt.host, "Authorization", "Bearer "+token)
				if got := rw.Code != 403; got != want {
					t.Errorf("GET %s with Host %q and token %q = %d %s, let in: want %t", path, tt.host, token, rw.Code, rw.Body, want)
				}
			}
			if rw := w.status("GET", "/health", tt.host); rw.Code != 200 {
				t.Errorf("/health with Host %q = %d", tt.host, rw.Code)
			}
		}
	}
}

func TestOrigins(t *testing.T) {
	w := newBed(t, Options{AllowedHosts: []string{"cal.example"}, AllowedOrigins: []string{"https://app.example", "chrome-extension://abc"}}).Worker
	for _, tt := range []struct {
		host    string
		origins []string
		in      bool
	}{
		{"localhost:8080", nil, true},
		{"localhost:8080", []string{"http://localhost:8080"}, true},
		{"localhost:8080", []string{"https://localhost:8080"}, true},
		{"cal.example", []string{"https://cal.example"}, true},
		{"[::1]:80", []string{"http://[::1]:80"}, true},
		{"localhost:8080", []string{"https://app.example"}, true},
		{"localhost:8080", []string{"https://APP.example"}, true},
		{"localhost:8080", []string{"chrome-extension://abc"}, true},
		{"localhost:8080", []string{"http://app.example"}, false},
		{"localhost:8080", []string{"https://app.example:444"}, false},
		{"localhost:8080", []string{"https://app.example.evil"}, false},
		{"localhost:8080", []string{"https://app.example", "https://app.example"}, false},
		{"localhost:8080", []string{"http://evil.example"}, false},
		{"localhost:8080", []string{"http://localhost"}, false},
		{"localhost:8080", []string{"http://localhost:8081"}, false},
		{"localhost:8080", []string{"http://localhost:8080", "http://evil.example"}, false},
		{"localhost:8080", []string{"http://localhost:8080", "http://localhost:8080"}, false},
		{"localhost:8080", []string{"", "http://evil.example"}, false},
		{"localhost:8080", []string{"http://localhost:8080, http://evil.example"}, false},
		{"localhost:8080", []string{"http://user@localhost:8080"}, false},
		{"user@localhost:8080", []string{"http://user@localhost:8080"}, false},
		{"localhost:8080", []string{"http://@localhost:8080"}, false},
		{"localhost:8080", []string{"ftp://localhost:8080"}, false},
		{"localhost:8080", []string{"chrome-extension://localhost:8080"}, false},
		{"localhost:8080", []string{"//localhost:8080"}, false},
		{"localhost:8080", []string{"localhost:8080"}, false},
		{"localhost:8080", []string{"http://localhost:8080/"}, false},
		{"localhost:8080", []string{"null"}, false},
		{"localhost:8080", []string{""}, false},
		{"", []string{"null"}, false},
		{"", []string{"http://"}, false},
	} {
		var header []string
		for _, o := range tt.origins {
			header = append(header, "Origin", o)
		}
		for path := range paths {
			if rw := w.status("GET", path, tt.host, header...); (rw.Code != 403) != tt.in {
				t.Errorf("GET %s with Host %q, Origin %q: %d, let in: want %t", path, tt.host, tt.origins, rw.Code, tt.in)
			}
		}
	}
}

// TestOtherSites sends what a browser does for an image, a script or a link of another
// site, where there may be no Origin.
func TestOtherSites(t *testing.T) {
	w := newBed(t, Options{}).Worker
	for _, tt := range []struct {
		site, mode string
		in         bool
	}{
		{"cross-site", "no-cors", false}, {"same-site", "no-cors", false}, {"cross-site", "", false},
		{"cross-site", "navigate", true}, {"none", "navigate", true}, {"same-origin", "cors", true},
	} {
		for path := range paths {
			rw := w.status("GET", path, "localhost", "Sec-Fetch-Site", tt.site, "Sec-Fetch-Mode", tt.mode)
			if (rw.Code != 403) != tt.in {
				t.Errorf("GET %s from %s with mode %q = %d, let in: want %t", path, tt.site, tt.mode, rw.Code, tt.in)
			}
		}
	}
}

// TestForwarded has requests come through a proxy, which says nothing of who sent them.
func TestForwarded(t *testing.T) {
	b := newBed(t, Options{})
	w := New(b.Runtime.Runtime, &b.opts)
	withToken := New(b.Runtime.Runtime, &Options{Token: "secret", DAV: true, Link: b.opts.Link})
	headers := [][]string{{"Forwarded", "for=10.0.0.1"}, {"Forwarded", ""}, {"X-Forwarded-For", "10.0.0.1"}, {"X-Forwarded-Host", "localhost"}, {"X-Forwarded-Proto", "https"}}
	check := func(w *Worker, in bool) {
		t.Helper()
		for path := range paths {
			for _, h := range headers {
				if rw := w.status("GET", path, "localhost", h...); (rw.Code != 403) != in {
					t.Errorf("GET %s with %q = %d %s, let in: want %t", path, h, rw.Code, rw.Body, in)
				}
			}
		}
		if rw := w.status("GET", "/health", "localhost", headers[0]...); rw.Code != 200 {
			t.Errorf("/health with %q = %d", headers[0], rw.Code)
		}
	}
	check(w, false)
	check(withToken, true)
	b.add("ann") // there are secrets now
	delete(paths, "/objects/NOPE/a/b")
	defer func() { paths["/objects/NOPE/a/b"] = 404 }()
	check(w, true)
}

func TestPreflight(t *testing.T) {
	const page = "https://app.example"
	w := newBed(t, Options{Token: "secret", AllowedOrigins: []string{page}}).Worker
	ask := []string{"Access-Control-Request-Method", "POST", "Access-Control-Request-Private-Network", "true",
		"Access-Control-Request-Headers", "authorization,content-type,mcp-protocol-version,mcp-param-calendar-id, x-other"}
	for _, path := range []string{"/mcp", "/sse", "/messages", "/api/calendars"} {
		rw := w.status("OPTIONS", path, "localhost", append(ask, "Origin", page)...)
		h := rw.Header()
		if rw.Code != 204 || h.Get("Access-Control-Allow-Origin") != page || h.Get("Access-Control-Allow-Private-Network") != "true" ||
			h.Get("Access-Control-Allow-Credentials") != "" || !slices.Contains(h.Values("Vary"), "Origin") {
			t.Errorf("OPTIONS %s = %d %v", path, rw.Code, h)
		}
		allowed := strings.Split(h.Get("Access-Control-Allow-Headers"), ", ")
		for _, name := range []string{"Authorization", "Content-Type", "Mcp-Protocol-Version", "Mcp-Session-Id", "Mcp-Method", "Mcp-Name", "Mcp-Param-Calendar-Id", "Last-Event-Id"} {
			if !slices.ContainsFunc(allowed, func(a string) bool { return http.CanonicalHeaderKey(a) == name }) {
				t.Errorf("OPTIONS %s allows %q, want %s too", path, allowed, name)
			}
		}
		if strings.Contains(h.Get("Access-Control-Allow-Headers"), "X-Other") {
			t.Errorf("OPTIONS %s allows %q", path, allowed)
		}
		for _, method := range []string{"GET", "POST", "DELETE"} {
			if !strings.Contains(h.Get("Access-Control-Allow-Methods"), method) {
				t.Errorf("OPTIONS %s allows %s, want %s too", path, h.Get("Access-Control-Allow-Methods"), method)
			}
		}

		// The answer itself may be read, errors too.
		rw = w.status("GET", path, "localhost", "Origin", page)
		if rw.Code != 401 || rw.Header().Get("Access-Control-Allow-Origin") != page ||
			!strings.Contains(rw.Header().Get("Access-Control-Expose-Headers"), "Mcp-Session-Id") ||
			!strings.Contains(rw.Header().Get("Access-Control-Expose-Headers"), "WWW-Authenticate") {
			t.Errorf("GET %s from %s = %d %v", path, page, rw.Code, rw.Header())
		}
		rw = w.status("OPTIONS", path, "localhost", append(ask, "Origin", "https://evil.example")...)
		if rw.Code != 403 || rw.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("OPTIONS %s from elsewhere = %d %v", path, rw.Code, rw.Header())
		}
	}
	for _, path := range []string{"/objects/SESSIONS/a/get", "/dav/", "/nothing"} { // let in, but not read
		if rw := w.status("OPTIONS", path, "localhost", append(ask, "Origin", page)...); rw.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("OPTIONS %s = %d %v", path, rw.Code, rw.Header())
		}
	}
}

func TestCheckOrigin(t *testing.T) {
	for origin, ok := range map[string]bool{
		"https://app.example": true, "http://localhost:5173": true, "http://[::1]:80": true, "chrome-extension://abc": true, "vscode-webview://x": true,
		"app.example": false, "https://app.example/": false, "https://app.example/x": false, "*": false, "null": false, "": false,
		"https://u@app.example": false, "https://app.example?x": false, "https://": false, "https://app.example#": true,
	} {
		if err := CheckOrigin(origin); (err == nil) != ok {
			t.Errorf("CheckOrigin(%q) = %v, ok: want %t", origin, err, ok)
		}
	}
}
