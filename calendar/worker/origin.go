package worker

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// What a browser on this machine, or on a user's, may be made to send is sorted out here,
// for every path but /health:
//
//  1. A Host that is not ours is refused, so that no page makes its own name point here
//     (DNS rebinding). An address in place of a name can't be made to: where a secret is
//     asked for, and we may be listening elsewhere than on loopback, any is let in.
//  2. An Origin is ours (the page was served by this very host), an allowed one, or refused.
//  3. What comes from another site without an Origin, an image or a script, is refused too.

// Paths where allowed origins get to read the answers.
var corsPaths = []string{mcpPath, ssePath, messagesPath, apiPrefix}

var (
	errOrigin = &refusal{status: http.StatusForbidden, text: "Requests from other origins are refused: the server's owner can allow one with PERDURE_ALLOWED_ORIGINS"}
	errProxy  = &refusal{status: http.StatusForbidden, text: "This request came through a proxy, and nothing here is protected by a secret: set PERDURE_TOKEN, or add users"}
)

// checkSource refuses what should not have been sent here. foreign is the allowed origin
// of the page that sent it, "" if none did or it is ours.
func (w *Worker) checkSource(r *http.Request) (foreign string, err error) {
	if host := hostname(r.Host); !w.servesHost(host) {
		return "", &refusal{status: http.StatusForbidden,
			text: fmt.Sprintf("Host %.100q is not served here: the server's owner can add it with PERDURE_ALLOWED_HOSTS", host)}
	}
	origins := r.Header.Values("Origin")
	switch {
	case len(origins) == 0:
		if site := r.Header.Get("Sec-Fetch-Site"); (site == "cross-site" || site == "same-site") && r.Header.Get("Sec-Fetch-Mode") != "navigate" {
			return "", errOrigin
		}
	case len(origins) > 1: // who reads another one than we do would be fooled
		return "", errOrigin
	case sameOrigin(origins[0], r.Host):
	case slices.ContainsFunc(w.opts.AllowedOrigins, func(allowed string) bool { return strings.EqualFold(allowed, origins[0]) }):
		foreign = origins[0]
	default:
		return "", errOrigin
	}
	if w.opts.Token == "" && forwarded(r) {
		any, err := w.accounts.Any(r.Context())
		if err == nil && !any {
			err = errProxy
		}
		return foreign, err
	}
	return foreign, nil
}

// servesHost reports whether a host without port is let in. Of AllowedHosts neither case
// nor port counts.
func (w *Worker) servesHost(host string) bool {
	switch {
	case host == "":
		return false
	case isLoopback(host):
		return true
	case w.opts.Token != "" && isAddress(host):
		return true
	}
	return slices.ContainsFunc(w.opts.AllowedHosts, func(allowed string) bool { return hostname(allowed) == host })
}

// sameOrigin reports whether origin is that of a page which host served. An origin is
// compared as text: what a browser sends (RFC 6454, section 6.2) is a scheme and a
// host with its port, and anything else is nobody's origin.
func sameOrigin(origin, host string) bool {
	scheme, rest, _ := strings.Cut(origin, "://")
	return (scheme == "http" || scheme == "https") && rest != "" && rest == host && !strings.Contains(rest, "@")
}

func hostname(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	return strings.ToLower(strings.Trim(host, "[]"))
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// CheckOrigin returns an error for what no browser would send as an Origin, so that it
// would be allowed in vain.
func CheckOrigin(origin string) error {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme == "" || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return fmt.Errorf("origin %q: must be scheme://host or scheme://host:port, without a path", origin)
	}
	return nil
}

// forwarded says whether a proxy has passed the request on, so that its address says
// nothing of who sent it.
func forwarded(r *http.Request) bool {
	for name := range r.Header {
		if name == "Forwarded" || strings.HasPrefix(name, "X-Forwarded-") {
			return true
		}
	}
	return false
}

// Headers of MCP that pages may send and read (revision 2026-07-28 and before).
var (
	corsAllowed = []string{"Accept", "Authorization", "Content-Type", "Last-Event-ID",
		"Mcp-Method", "Mcp-Name", "Mcp-Protocol-Version", "Mcp-Session-Id"}
	corsExposed = "Mcp-Protocol-Version, Mcp-Session-Id, Retry-After, WWW-Authenticate"
)

// cors lets pages of an allowed origin read the answer. It answers a preflight itself,
// which carries no secret, and then returns true.
func cors(rw http.ResponseWriter, r *http.Request, origin string) (done bool) {
	h := rw.Header()
	h.Add("Vary", "Origin")
	if origin == "" {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", corsExposed)
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Add("Vary", "Access-Control-Request-Headers")
	h.Set("Access-Control-Allow-Methods", "GET, POST, DELETE")
	allowed := slices.Clone(corsAllowed)
	for name := range strings.SplitSeq(r.Header.Get("Access-Control-Request-Headers"), ",") {
		// A tool's arguments as headers; which there are, no list says.
		if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); strings.HasPrefix(name, "Mcp-Param-") && len(allowed) < 100 {
			allowed = append(allowed, name)
		}
	}
	h.Set("Access-Control-Allow-Headers", strings.Join(allowed, ", "))
	h.Set("Access-Control-Max-Age", "600")
	if r.Header.Get("Access-Control-Request-Private-Network") == "true" {
		h.Set("Access-Control-Allow-Private-Network", "true")
	}
	rw.WriteHeader(http.StatusNoContent)
	return true
}

// hasCORS says whether pages of allowed origins may read answers of a path.
func hasCORS(path string) bool {
	return slices.ContainsFunc(corsPaths, func(p string) bool {
		return path == p || strings.HasSuffix(p, "/") && strings.HasPrefix(path, p)
	})
}
