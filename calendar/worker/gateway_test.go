package worker

import (
	"net/http/httptest"
	"testing"
)

func TestHostsWithoutToken(t *testing.T) {
	rt := newBed(t, Options{}).Runtime.Runtime
	allowed := []string{"Cal.Example", "other.example:8080", "[2001:DB8::1]", "[2001:db8::2]:443", "2001:db8::3", ":80"}
	for _, tt := range []struct {
		host string
		want int
	}{
		{"localhost", 404}, {"LOCALHOST:8080", 404}, {"127.0.0.1", 404}, {"127.1.2.3:1", 404}, {"[::1]", 404}, {"[::1]:80", 404},
		{"cal.example", 404}, {"CAL.example:1234", 404},
		{"other.example", 404}, {"other.example:8080", 404}, {"Other.Example:9", 404},
		{"[2001:db8::1]", 404}, {"[2001:DB8::1]:80", 404}, {"[2001:db8::2]", 404}, {"[2001:db8::3]:80", 404},
		{"evil.example", 403}, {"cal.example.evil", 403}, {"xcal.example", 403}, {"localhost.evil", 403}, {"10.0.0.1", 403},
		{"", 403}, {":80", 403}, {"user@localhost", 403}, {"[2001:db8::4]", 403},
	} {
		for _, token := range []string{"", "secret"} {
			w := New(rt, &Options{AllowedHosts: allowed, Token: token})
			r := httptest.NewRequest("GET", "/nothing", nil)
			r.Host = tt.host
			rw := httptest.NewRecorder()
			w.ServeHTTP(rw, r)
			want := tt.want
			if token != "" {
				want = 404
			}
			if rw.Code != want {
				t.Errorf("Host %q, token %q: %d, want %d", tt.host, token, rw.Code, want)
			}
		}
	}
}

func TestOrigins(t *testing.T) {
	w := newBed(t, Options{Token: "secret"}).Worker
	for _, tt := range []struct {
		host    string
		origins []string
		want    int
	}{
		{"localhost:8080", nil, 404},
		{"localhost:8080", []string{"http://localhost:8080"}, 404},
		{"localhost:8080", []string{"https://localhost:8080"}, 404},
		{"cal.example", []string{"https://cal.example"}, 404},
		{"[::1]:80", []string{"http://[::1]:80"}, 404},
		{"localhost:8080", []string{"http://evil.example"}, 403},
		{"localhost:8080", []string{"http://localhost"}, 403},
		{"localhost:8080", []string{"http://localhost:8081"}, 403},
		{"localhost:8080", []string{"http://localhost:8080", "http://evil.example"}, 403},
		{"localhost:8080", []string{"http://localhost:8080", "http://localhost:8080"}, 403},
		{"localhost:8080", []string{"", "http://evil.example"}, 403},
		{"localhost:8080", []string{"http://localhost:8080, http://evil.example"}, 403},
		{"localhost:8080", []string{"http://user@localhost:8080"}, 403},
		{"user@localhost:8080", []string{"http://user@localhost:8080"}, 403},
		{"localhost:8080", []string{"http://@localhost:8080"}, 403},
		{"localhost:8080", []string{"ftp://localhost:8080"}, 403},
		{"localhost:8080", []string{"chrome-extension://localhost:8080"}, 403},
		{"localhost:8080", []string{"//localhost:8080"}, 403},
		{"localhost:8080", []string{"localhost:8080"}, 403},
		{"localhost:8080", []string{"http://localhost:8080/"}, 403},
		{"localhost:8080", []string{"null"}, 403},
		{"localhost:8080", []string{""}, 403},
		{"", []string{"null"}, 403},
		{"", []string{"http://"}, 403},
	} {
		r := httptest.NewRequest("GET", "/nothing", nil)
		r.Host = tt.host
		for _, o := range tt.origins {
			r.Header.Add("Origin", o)
		}
		rw := httptest.NewRecorder()
		w.ServeHTTP(rw, r)
		if rw.Code != tt.want {
			t.Errorf("Host %q, Origin %q: %d, want %d", tt.host, tt.origins, rw.Code, tt.want)
		}
	}
}
