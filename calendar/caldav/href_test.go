package caldav

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

func TestParseBase(t *testing.T) {
	for _, tt := range []struct{ in, origin, path string }{
		{"https://cloud.example.org", "https://cloud.example.org", ""},
		{" https://Cloud.Example.org:443/ ", "https://cloud.example.org", ""},
		{"https://cloud.example.org:8443/next%20cloud/", "https://cloud.example.org:8443", "/next%20cloud"},
		{"http://localhost:80/dav", "http://localhost", "/dav"},
		{"http://[::1]:5232/a/", "http://[::1]:5232", "/a"},
	} {
		o, path, err := parseBase(tt.in)
		if err != nil || o.String() != tt.origin || path != tt.path {
			t.Errorf("parseBase(%q) = %v, %q, %v, want %s, %q", tt.in, o, path, err, tt.origin, tt.path)
		}
	}
	for _, in := range []string{"", "cloud.example.org", "ftp://x/", "https://", "https://alice:s3cret@x/", "https://x/?q=s3cret", "https://x/#s3cret", "https://s3cret:x:y/", "https://x/%zz"} {
		_, _, err := parseBase(in)
		if err == nil {
			t.Errorf("parseBase(%q) succeeded", in)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("parseBase(%q): the error quotes the address: %v", in, err)
		}
	}
}

func TestLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:5232": true, "127.0.0.1": true, "127.9.9.9:1": true, "[::1]:80": true, "[::ffff:127.0.0.1]:80": true,
		"localhost.example.org": false, "10.0.0.1": false, "example.org:80": false, "127.0.0.1.example.org": false, "": false,
	} {
		if got := (origin{"http", host}).loopback(); got != want {
			t.Errorf("loopback(%q) = %t, want %t", host, got, want)
		}
	}
}

func TestResolve(t *testing.T) {
	o := origin{"https", "cloud.example.org"}
	const base = "/dav/cal/"
	for ref, want := range map[string]string{
		"/dav/cal/a.ics":                          "/dav/cal/a.ics",
		" /dav/c%c3%a4l/x\n":                      "/dav/c%C3%A4l/x",
		"/dav/eve space/":                         "/dav/eve%20space/",
		"/dav/a%40b.org/":                         "/dav/a@b.org/",
		"/dav/a%2fb/c+d":                          "/dav/a%2Fb/c%2Bd",
		"/dav/ä":                                  "/dav/%C3%A4",
		"a.ics":                                   "/dav/cal/a.ics",
		"":                                        "/dav/cal/",
		"https://cloud.example.org/dav/x":         "/dav/x",
		"HTTPS://CLOUD.example.org:443/dav/x":     "/dav/x",
		"//cloud.example.org/dav/x":               "/dav/x",
		"https://cloud.example.org":               "/",
		"/dav/we%20ird%2Bname%40x.ics":            "/dav/we%20ird%2Bname@x.ics",
		"/dav/:x;y,z='!$&()*":                     "/dav/%3Ax%3By%2Cz%3D%27%21%24%26%28%29%2A",
		"/remote.php/dav/calendars/a-b_c.d~e/f0/": "/remote.php/dav/calendars/a-b_c.d~e/f0/",
	} {
		got, err := o.resolve("href", base, ref)
		if err != nil || got != want {
			t.Errorf("resolve(%q) = %q, %v, want %q", ref, got, err, want)
		}
		again, err := Canonical(got)
		if err != nil || again != got {
			t.Errorf("Canonical(%q) = %q, %v", got, again, err)
		}
	}
}

func TestResolveElsewhere(t *testing.T) {
	o := origin{"https", "cloud.example.org"}
	for _, ref := range []string{
		"http://cloud.example.org/dav/", "https://cloud.example.org:8443/", "https://evil.example/", "//evil.example/dav/",
		"https://cloud.example.org@evil.example/", "https://u:p@cloud.example.org/", "mailto:alice@example.org", "javascript:x",
		"https:/dav/", "https://cloud.example.org.evil.example/",
	} {
		got, err := o.resolve("redirect", "/", ref)
		var away *OriginError
		if !errors.As(err, &away) {
			t.Errorf("resolve(%q) = %q, %v, want an OriginError", ref, got, err)
		} else if strings.Contains(err.Error(), "u:p") {
			t.Errorf("resolve(%q): error with user and password: %v", ref, err)
		}
	}
	for _, ref := range []string{"/dav/../etc", "/dav/%2e%2e/x", "/dav/./x", "/dav/%zz", "/dav/x?y", "/dav/x#y", "?x"} {
		if got, err := o.resolve("href", "/", ref); !errors.Is(err, ErrMalformed) {
			t.Errorf("resolve(%q) = %q, %v, want ErrMalformed", ref, got, err)
		}
	}
}

func TestJoin(t *testing.T) {
	for _, tt := range []struct{ collection, name, want string }{
		{"/dav/cal/", "a.ics", "/dav/cal/a.ics"},
		{"/dav/cal", "a b/../c?.ics", "/dav/cal/a%20b%2F..%2Fc%3F.ics"},
	} {
		got := Join(tt.collection, tt.name)
		if got != tt.want {
			t.Errorf("Join(%q, %q) = %q, want %q", tt.collection, tt.name, got, tt.want)
		}
		if again, err := Canonical(got); again != got {
			t.Errorf("Canonical(%q) = %q, %v", got, again, err)
		}
	}
	if _, err := Canonical(Join("/dav/cal/", "..")); !errors.Is(err, ErrMalformed) {
		t.Errorf("Join with .. is accepted: %v", err)
	}
	for _, href := range []string{"", "a.ics", "//evil.example/x", "https://evil.example/", "/x?y"} {
		if got, err := Canonical(href); !errors.Is(err, ErrMalformed) {
			t.Errorf("Canonical(%q) = %q, %v, want ErrMalformed", href, got, err)
		}
	}
}

func TestParent(t *testing.T) {
	for href, want := range map[string]string{"/a/b/c.ics": "/a/b/", "/a/b/": "/a/", "/a": "/"} {
		if got := parent(href); got != want {
			t.Errorf("parent(%q) = %q, want %q", href, got, want)
		}
	}
}

// FuzzResolve: whatever a server calls an address, what comes out is on the origin and in
// the canonical spelling.
func FuzzResolve(f *testing.F) {
	for _, ref := range []string{"/dav/a%2fb", "a b", "//evil.example/", "https://cloud.example.org@evil.example/x", "https://cloud.example.org:443", `/\evil.example/`, "/%2e%2e/", "http:x", "\t//evil.example"} {
		f.Add("/dav/", ref)
	}
	o := origin{"https", "cloud.example.org"}
	f.Fuzz(func(t *testing.T, base, ref string) {
		base, err := Canonical(base)
		if err != nil {
			return
		}
		href, err := o.resolve("href", base, ref)
		if err != nil {
			return
		}
		if again, err := Canonical(href); err != nil || again != href {
			t.Errorf("resolve(%q, %q) = %q, whose canonical form is %q, %v", base, ref, href, again, err)
		}
		u, err := url.Parse(o.String() + href)
		if err != nil || u.Scheme != o.scheme || u.Host != o.host || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.EscapedPath() != href {
			t.Errorf("resolve(%q, %q) = %q, which as an address is %v, %v", base, ref, href, u, err)
		}
	})
}
