package caldav

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// An href, wherever this package takes or returns one, is a path on the configured
// origin in one canonical spelling, so that equal strings name equal resources.
// Servers do not agree on the spelling, and Nextcloud not even with itself: it sends
// %20 in one answer and a raw space in the next, lower-case escapes, and collections
// with and without their last slash. The canonical form escapes every byte outside
// A-Z a-z 0-9 - . _ ~ @, segment by segment, with upper-case digits; an escaped slash
// stays one.

// origin is the one place where requests go: what was typed, never what a server says.
type origin struct {
	scheme string
	host   string // with the port, in lower case; without a default port
}

func (o origin) String() string { return o.scheme + "://" + o.host }

// parseBase splits the address that a user typed into its origin and its path.
// Errors do not quote it: it may hold a password.
func parseBase(raw string) (o origin, path string, err error) {
	u, err := url.Parse(strings.TrimSpace(raw))
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return o, "", fmt.Errorf("caldav: the server's address is not an http or https URL")
	case u.User != nil:
		return o, "", fmt.Errorf("caldav: the server's address holds a user or password, give them separately")
	case u.RawQuery != "" || u.Fragment != "":
		return o, "", fmt.Errorf("caldav: the server's address holds a query or fragment")
	}
	path, err = canonicalPath(strings.TrimRight(u.EscapedPath(), "/"))
	return originOf(u.Scheme, u.Host), path, err
}

func originOf(scheme, host string) origin {
	scheme, host = strings.ToLower(scheme), strings.ToLower(host)
	if scheme == "https" {
		host = strings.TrimSuffix(host, ":443")
	} else if scheme == "http" {
		host = strings.TrimSuffix(host, ":80")
	}
	return origin{scheme, host}
}

// loopback says whether the origin is this machine.
func (o origin) loopback() bool {
	host := o.host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// resolve returns the canonical path of a reference that a server sent, seen from the
// resource at base. A reference to another origin is an [OriginError] of the given kind.
func (o origin) resolve(kind, base, ref string) (string, error) {
	ref = strings.TrimSpace(ref)
	path := ref
	if scheme, rest, ok := cutScheme(ref); ok {
		host, after, _ := cutAuthority(rest)
		if scheme == "" {
			scheme = o.scheme
		}
		if originOf(scheme, host) != o {
			return "", &OriginError{Kind: kind, Origin: o.String(), Target: originOf(scheme, hideUser(host)).String()}
		}
		path = "/" + strings.TrimPrefix(after, "/")
	}
	if strings.ContainsAny(path, "?#") || strings.HasPrefix(path, "//") {
		return "", fmt.Errorf("%w: %s with a query or fragment, or no path", ErrMalformed, kind)
	}
	if path == "" {
		return base, nil
	}
	if !strings.HasPrefix(path, "/") {
		path = base[:strings.LastIndexByte(base, '/')+1] + path
	}
	return canonicalPath(path)
}

// cutScheme splits "scheme://rest" and "//rest"; ok is false for a path.
func cutScheme(ref string) (scheme, rest string, ok bool) {
	if rest, ok = strings.CutPrefix(ref, "//"); ok {
		return "", rest, true
	}
	i := strings.IndexAny(ref, ":/?#")
	if i <= 0 || ref[i] != ':' {
		return "", "", false
	}
	// "mailto:someone" has no authority and so is another origin, as it should be.
	return ref[:i], strings.TrimPrefix(ref[i+1:], "//"), true
}

func cutAuthority(rest string) (host, path string, found bool) {
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		return rest[:i], rest[i:], true
	}
	return rest, "", false
}

func hideUser(host string) string { return host[strings.LastIndexByte(host, '@')+1:] }

// canonicalPath brings an absolute path into the canonical spelling.
func canonicalPath(path string) (string, error) {
	var b strings.Builder
	for i, segment := range strings.Split(path, "/") {
		if i > 0 {
			b.WriteByte('/')
		}
		raw, err := url.PathUnescape(segment)
		if err != nil {
			return "", fmt.Errorf("%w: href with a broken percent escape", ErrMalformed)
		}
		if raw == "." || raw == ".." {
			return "", fmt.Errorf("%w: href with a dot segment", ErrMalformed)
		}
		escape(&b, raw)
	}
	return b.String(), nil
}

func escape(b *strings.Builder, segment string) {
	const hex = "0123456789ABCDEF"
	for i := range len(segment) {
		c := segment[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~@", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', hex[c>>4], hex[c&15]})
	}
}

// Join returns the href of the member with the given plain name in a collection.
// The name is one segment: whatever it contains is escaped. A name of "", "." or ".."
// makes an href that every method refuses.
func Join(collection, name string) string {
	var b strings.Builder
	b.WriteString(strings.TrimSuffix(collection, "/"))
	b.WriteByte('/')
	escape(&b, name)
	return b.String()
}

// Canonical returns the canonical spelling of an href that was kept elsewhere or typed.
// It is an error if it isn't an absolute path.
func Canonical(href string) (string, error) {
	if !strings.HasPrefix(href, "/") || strings.HasPrefix(href, "//") || strings.ContainsAny(href, "?#") {
		return "", fmt.Errorf("%w: %q is not a path on the server", ErrMalformed, clip(href, 200))
	}
	return canonicalPath(href)
}

// SameCollection says whether two canonical hrefs name one collection: they may differ
// in the last slash.
func SameCollection(a, b string) bool {
	return strings.TrimRight(a, "/") == strings.TrimRight(b, "/")
}

// collection gives the href of a collection its last slash.
func collection(href string) string { return strings.TrimRight(href, "/") + "/" }

// parent returns the collection that holds an object.
func parent(href string) string {
	return href[:strings.LastIndexByte(strings.TrimRight(href, "/"), '/')+1]
}
