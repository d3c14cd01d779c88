package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perdure/perdure/internal/corpus"
)

// TestCorpus plays the recorded dialogues against a real process, restarts and
// kills included, and reads everything again after a kill -9.
func TestCorpus(t *testing.T) {
	rows, err := corpus.Rows()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	args := []string{"serve", "--addr", "127.0.0.1:0"}
	p := start(t, dir, nil, args...)
	again := func(end func()) func() error {
		return func() error {
			end()
			p = start(t, dir, nil, args...)
			return nil
		}
	}
	bindings := map[string]string{"session": "SESSIONS", "cache": "CALENDARS"}
	target := corpus.Target{
		Send:    corpus.Gateway(http.DefaultClient, func() string { return p.base }, bindings, nil),
		Restart: again(func() { p.stop() }),
		Kill:    again(func() { p.kill() }),
	}
	corpus.Run(t, rows, target)

	// The same names again would find what is there: other objects of a server that was killed.
	target.Kill()
	for i := range rows {
		if rows[i].Do != "" {
			rows[i].Do += " after kill"
		}
	}
	corpus.Run(t, rows, target)
}

// TestKillKeepsSessions kills the server under load: what was answered is there.
func TestKillKeepsSessions(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, nil, "serve", "--addr", "127.0.0.1:0")
	var mu sync.Mutex
	acked := make(map[string]string) // path of get -> what its data must hold
	var wg sync.WaitGroup
	enough := make(chan struct{})
	for g := range 8 {
		wg.Go(func() {
			for i := range 1000 {
				body := fmt.Sprintf(`{"data":{"g":%d,"i":%d}}`, g, i)
				path := fmt.Sprintf("/objects/SESSIONS/s%d", i%3)
				resp, err := http.Post(p.base+path+"/create", "application/json", strings.NewReader(body))
				if err != nil {
					return // killed
				}
				var got struct{ SessionID string }
				err = json.NewDecoder(resp.Body).Decode(&got)
				resp.Body.Close()
				if err != nil {
					return
				}
				mu.Lock()
				acked[path+"/get?id="+got.SessionID] = fmt.Sprintf(`"data":{"g":%d,"i":%d}`, g, i)
				if len(acked) == 400 {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	<-enough
	p.kill()
	wg.Wait()
	p = start(t, dir, nil, "serve", "--addr", "127.0.0.1:0")
	for path, want := range acked {
		if code, body := p.do("GET", path, ""); code != 200 || !strings.Contains(body, want) {
			t.Fatalf("GET %s after kill -9 = %d %s, want 200 with %s", path, code, body, want)
		}
	}
}

func TestStopsInGoodOrder(t *testing.T) {
	p := start(t, t.TempDir(), nil, "serve", "--addr", "127.0.0.1:0")
	if code := p.stop(); code != 0 {
		t.Errorf("exit status after SIGTERM = %d, want 0: %s", code, p.stderr)
	}
}

func TestGatewayPassesPathsOn(t *testing.T) {
	p := start(t, t.TempDir(), nil, "serve", "--addr", "127.0.0.1:0", "--store", "memory:")
	const body = `[{"id":1}]`
	if code, got := p.do("PUT", "/objects/CALENDARS/a%2Fb%20%C3%BC/events/x%2Fy", body); code != 200 {
		t.Fatalf("PUT = %d %s", code, got)
	}
	for path, want := range map[string]int{
		"/objects/CALENDARS/a%2Fb%20%C3%BC/events/x%2Fy":      200, // the same object, one segment
		"/objects/CALENDAR_CACHE/a%2Fb%20%C3%BC/events/x%2fy": 200, // by the binding's other name
		"/objects/CALENDARS/a%2Fb%20%C3%BC/events/x/y":        404,
		"/objects/CALENDARS/a%2Fb%20%C3%BC//events/x%2Fy":     404, // not cleaned
		"/objects/CALENDARS/a%2Fb%20%C3%BC/./events/x%2Fy":    404,
		"/objects/CALENDARS/a%2Fb/events/x%2Fy":               404, // another object
		"/objects/CALENDARS//events/x%2Fy":                    404, // the object with the empty name
		"/objects/NOPE/a/events/x":                            404,
		"/objects/CALENDARS":                                  404,
		"/objects/":                                           404,
		"/objects/CALENDARS/a%zz/x":                           400,
	} {
		if code, got := p.do1(path); code != want {
			t.Errorf("GET %s = %d %s, want %d", path, code, got, want)
		}
	}
	if code, got := p.do("PUT", "/objects/CALENDARS/big/calendars", strings.Repeat(" ", 8<<20+1)); code != http.StatusRequestEntityTooLarge {
		t.Errorf("PUT of more than 8 MiB = %d %s, want 413", code, got)
	}
}

// do1 sends a GET with the path as it is, which net/http's client would not.
func (p *process) do1(path string) (int, string) {
	p.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.base, "http://"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n", path)
	var status int
	buf := make([]byte, 4096)
	n, _ := conn.Read(buf)
	fmt.Sscanf(string(buf[:n]), "HTTP/1.%d %d", new(int), &status)
	return status, string(buf[:n])
}

func TestTokenAndOrigin(t *testing.T) {
	const secret = "correct-horse"
	p := start(t, t.TempDir(), []string{"PERDURE_TOKEN=" + secret}, "serve", "--addr", "127.0.0.1:0", "--store", "memory:")
	const path = "/objects/CALENDARS/a/calendars"
	for _, c := range []struct {
		path   string
		header []string
		want   int
	}{
		{path, nil, 401},
		{path, []string{"Authorization", "Bearer wrong"}, 401},
		{path, []string{"Authorization", "Basic " + secret}, 401},
		{path, []string{"Authorization", "Bearer " + secret}, 404},
		{path, []string{"Authorization", "Bearer " + secret, "Origin", "http://evil.example"}, 403},
		{"/health", nil, 200},
	} {
		if code, body := p.do("GET", c.path, "", c.header...); code != c.want {
			t.Errorf("GET %s with %q = %d %s, want %d", c.path, c.header, code, body, c.want)
		}
	}
	p.stop()
	if out := p.stdout.String() + p.stderr.String(); strings.Contains(out, secret) {
		t.Errorf("the token is in the output: %s", out)
	}
}

// A body that never comes to its end must not keep a connection for ever, whoever refuses it.
func TestUnfinishedBodies(t *testing.T) {
	p := start(t, t.TempDir(), []string{"PERDURE_TOKEN=secret"}, "serve", "--addr", "127.0.0.1:0", "--store", "memory:")
	for path, want := range map[string]int{"/objects/SESSIONS/a/create": 401, "/dav/": 401, "/nowhere": 404, "/health": 405} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", strings.TrimPrefix(p.base, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(time.Minute))
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nbegun", path)
			answer, err := io.ReadAll(conn)
			if err != nil {
				t.Errorf("%v, want the end of the connection", err)
			}
			if got, _, _ := strings.Cut(string(answer), "\r\n"); !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d ", want)) {
				t.Errorf("%q, want %d", got, want)
			}
		})
	}
}

func TestForeignHostIsRefused(t *testing.T) {
	p := start(t, t.TempDir(), nil, "serve", "--addr", "127.0.0.1:0", "--store", "memory:")
	req, _ := http.NewRequest("GET", p.base+"/objects/CALENDARS/a/calendars", nil)
	req.Host = "rebound.example"
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("GET with Host %s = %d, want 403", req.Host, resp.StatusCode)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(conn, "OPTIONS * HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", req.Host)
	answer, err := io.ReadAll(conn)
	if line, _, _ := strings.Cut(string(answer), "\r\n"); err != nil || !strings.HasPrefix(line, "HTTP/1.1 403 ") {
		t.Errorf("OPTIONS * with Host %s = %q (%v), want 403", req.Host, line, err)
	}
}

const seedConfig = `
[durable_objects]
bindings = [
  { name = "SESSIONS", class_name = "SessionStore" },
  { name = "CALENDARS", class_name = "CalendarCache" }
]

[[migrations]]
tag = "v1"
new_classes = ["SessionStore", "CalendarCache"]
`

func TestRefusedAtStart(t *testing.T) {
	for _, c := range []struct {
		name   string
		config string
		env    []string
		args   []string
		status int
		want   string
	}{
		{"public address without token", "", nil, []string{"--addr", "0.0.0.0:0"}, 2, "without a token"},
		{"bad address", "", nil, []string{"--addr", "nowhere"}, 2, "HOST:PORT"},
		{"bad port", "", []string{"PORT=banana"}, nil, 2, "banana"},
		{"bad store", "", nil, []string{"--store", "mysql://x"}, 2, "--store"},
		{"nodes without a shared store", "", nil, []string{"--peer-addr", "127.0.0.1:0"}, 2, "--store postgres://"},
		{"nodes without a secret", "", nil, []string{"--store", "postgres://x", "--peer-addr", "127.0.0.1:0"}, 2, "PERDURE_CLUSTER_SECRET"},
		{"nodes with a short secret", "", []string{"PERDURE_CLUSTER_SECRET=banana"}, []string{"--store", "postgres://x", "--peer-addr", "127.0.0.1:0"}, 1, "PERDURE_CLUSTER_SECRET: "},
		{"node at no address", "", []string{"PERDURE_CLUSTER_SECRET=0123456789abcdef"}, []string{"--store", "postgres://x", "--peer-addr", "0.0.0.0:7787"}, 2, "--peer-listen"},
		{"node at a bad address", "", []string{"PERDURE_CLUSTER_SECRET=0123456789abcdef"}, []string{"--store", "postgres://x", "--peer-addr", "here"}, 2, "HOST:PORT"},
		{"listening for nobody", "", nil, []string{"--peer-listen", "127.0.0.1:0"}, 2, "--peer-addr"},
		{"short key", "", []string{"PERDURE_KEY=banana"}, []string{"--store", "memory:"}, 1, "PERDURE_KEY"},
		{"bad TTL", "", []string{"SESSION_TTL=soon"}, nil, 1, "SESSION_TTL"},
		{"token with a space", "", []string{"PERDURE_TOKEN=a b"}, nil, 2, "token"},
		{"bad log level", "", []string{"LOG_LEVEL=loud"}, nil, 1, "LOG_LEVEL: \"loud\""},
		{"bad keep-alive", "", []string{"KEEP_ALIVE_INTERVAL=30s"}, nil, 1, "KEEP_ALIVE_INTERVAL: \"30s\""},
		{"keep-alive in no time", "", []string{"KEEP_ALIVE_INTERVAL=1"}, nil, 1, "at least 100"},
		{"bad rate", "", []string{"PERDURE_RATE_LIMIT=-1"}, nil, 1, "PERDURE_RATE_LIMIT"},
		{"origin with a path", "", []string{"PERDURE_ALLOWED_ORIGINS=https://a.example, https://b.example/"}, nil, 1, "https://b.example/"},
		{"any origin", "", []string{"PERDURE_ALLOWED_ORIGINS=*"}, nil, 1, "PERDURE_ALLOWED_ORIGINS"},
		{"negative grace", "", nil, []string{"--grace=-1s"}, 2, "--grace"},
		{"unknown flag", "", nil, []string{"--bogus"}, 2, "--bogus"},
		{"unknown environment", seedConfig, nil, []string{"--env", "staging"}, 1, "staging"},
		{"binding without class", seedConfig + "\n[env.x.durable_objects]\nbindings = [{ name = \"A\", class_name = \"Missing\" }]\n", nil, []string{"--env", "x"}, 1, "wrangler.toml:13"},
		{"missing file", "", nil, []string{"--config", "nope.toml"}, 1, "nope.toml"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if c.config != "" {
				write(t, dir, "wrangler.toml", c.config)
			}
			args := append([]string{"serve"}, c.args...)
			if !slices.Contains(args, "--addr") && !slices.ContainsFunc(c.env, func(v string) bool { return strings.HasPrefix(v, "PORT=") }) {
				args = append(args, "--port", "0") // somebody may have the default one
			}
			p := launch(t, dir, c.env, args...)
			<-p.ready()
			if code := p.wait(); code != c.status || !strings.Contains(p.stderr.String(), c.want) {
				t.Errorf("exit %d, %s; want exit %d and %q", code, p.stderr, c.status, c.want)
			}
		})
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestMigrations(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "wrangler.toml", seedConfig)
	args := []string{"serve", "--addr", "127.0.0.1:0"}
	p := start(t, dir, nil, args...)
	if code, body := p.do("PUT", "/objects/CALENDARS/a/calendars", "[1]"); code != 200 {
		t.Fatalf("PUT = %d %s", code, body)
	}

	// The data folder is taken.
	other := launch(t, dir, nil, args...)
	<-other.ready()
	if code := other.wait(); code != 1 || !strings.Contains(other.stderr.String(), "another process") {
		t.Errorf("second server: exit %d, %s; want 1 and that another process has the folder", code, other.stderr)
	}
	p.stop()

	deleting := strings.Replace(seedConfig, `  { name = "CALENDARS", class_name = "CalendarCache" }`, "", 1) +
		"\n[[migrations]]\ntag = \"v2\"\ndeleted_classes = [\"CalendarCache\"]\n"
	write(t, dir, "wrangler.toml", deleting)
	q := launch(t, dir, nil, args...)
	<-q.ready()
	if code := q.wait(); code != 1 || !strings.Contains(q.stderr.String(), "--yes") {
		t.Errorf("deleting without --yes: exit %d, %s; want 1 and a hint to --yes", code, q.stderr)
	}
	p = start(t, dir, nil, append(args, "--yes")...)
	if code, _ := p.do("GET", "/objects/CALENDARS/a/calendars", ""); code != 404 {
		t.Errorf("binding of a deleted class = %d, want 404", code)
	}
	p.stop()

	// A tag that was applied must not vanish.
	write(t, dir, "wrangler.toml", seedConfig)
	q = launch(t, dir, nil, args...)
	<-q.ready()
	if code := q.wait(); code != 1 || !strings.Contains(q.stderr.String(), "v2") {
		t.Errorf("vanished migration: exit %d, %s; want 1 and the tag", code, q.stderr)
	}
}

func TestMisspelledVariables(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "wrangler.toml", seedConfig+"\n[vars]\nSESION_TTL = \"1h\"\nOTHER = \"x\"\n")
	p := start(t, dir, []string{"PERDURE_TOKN=x"}, "serve", "--addr", "127.0.0.1:0", "--store", "memory:")
	p.stop()
	for _, want := range []string{"did you mean SESSION_TTL", "did you mean PERDURE_TOKEN"} {
		if log := p.stderr.String(); !strings.Contains(log, want) || strings.Contains(log, "OTHER") {
			t.Errorf("log = %s, want %q and nothing of OTHER", log, want)
		}
	}
}

// TestNoPortNoMigration: a server that can't listen has changed nothing.
func TestNoPortNoMigration(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	p := launch(t, dir, nil, "serve", "--addr", taken.Addr().String())
	<-p.ready()
	if code := p.wait(); code != 1 || !strings.Contains(p.stderr.String(), "address already in use") {
		t.Errorf("exit %d, %s; want 1 and that the address is in use", code, p.stderr)
	}
	if _, err := os.Stat(filepath.Join(dir, ".perdure", "store")); !os.IsNotExist(err) {
		t.Errorf("the data folder was made: %v", err)
	}
}

func TestVariables(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "wrangler.toml", seedConfig+"\n[vars]\nSERVER_NAME = \"from wrangler\"\nPORT = \"0\"\n")
	health := func(env ...string) string {
		p := start(t, dir, env, "serve", "--store", "memory:")
		_, body := p.do("GET", "/health", "")
		p.stop()
		var h struct{ Server, Status string }
		if err := json.Unmarshal([]byte(body), &h); err != nil || h.Status != "ok" {
			t.Fatalf("/health = %s", body)
		}
		return h.Server
	}
	check := func(want string, env ...string) {
		t.Helper()
		if got := health(env...); got != want {
			t.Errorf("SERVER_NAME = %q, want %q", got, want)
		}
	}
	check("from wrangler")
	write(t, dir, ".env", "SERVER_NAME=from-env-file\n")
	check("from-env-file")
	write(t, dir, ".dev.vars", "SERVER_NAME=from-dev-vars\n")
	check("from-dev-vars")
	check("from environment", "SERVER_NAME=from environment")
}

// TestWithoutCalendarCache has a configuration that leaves out the class that MCP needs.
func TestWithoutCalendarCache(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "wrangler.toml", "name = \"foreign\"\n")
	p := start(t, dir, nil, "serve", "--addr", "127.0.0.1:0", "--store", "memory:")
	const why = "no migration has made the class CalendarCache"
	if code, body := p.do("POST", "/mcp", "{}"); code != 503 || !strings.HasSuffix(strings.TrimSpace(body), why+`"}`) {
		t.Errorf("POST /mcp = %d %s, want 503 and why", code, body)
	}
	p.stop()
	if out := p.stdout.String(); strings.Contains(out, "/mcp") || !strings.Contains(out, "\nTry: curl "+p.base+"/health\n") {
		t.Errorf("the greeting is %s, want nothing of MCP, and something to try", out)
	}
	if log := p.stderr.String(); !strings.Contains(log, "level=WARN") || !strings.Contains(log, why) || !strings.Contains(log, `new_classes = [\"CalendarCache\"]`) || !strings.Contains(log, "wrangler.toml") {
		t.Errorf("the log is %s, want what is missing and how to add it", log)
	}
	write(t, dir, "wrangler.toml", "name = \"foreign\"\n[[migrations]]\ntag = \"v1\"\nnew_classes = [\"CalendarCache\"]\n")
	p = start(t, dir, nil, "serve", "--addr", "127.0.0.1:0", "--store", "memory:")
	if code, body := p.do("GET", "/api/calendars", ""); code != 200 {
		t.Errorf("GET /api/calendars with the class = %d %s", code, body)
	}
	p.stop()
	if out := p.stdout.String(); !strings.Contains(out, "/mcp") || strings.Contains(p.stderr.String(), "CalendarCache") {
		t.Errorf("with the class: %s %s, want MCP and no warning", out, p.stderr)
	}
}

// TestEnded has the log end with a line that says whether all was finished.
func TestEnded(t *testing.T) {
	last := func(p *process) string {
		lines := strings.Split(strings.TrimSpace(p.stderr.String()), "\n")
		return lines[len(lines)-1]
	}
	p := start(t, t.TempDir(), nil, "serve", "--addr", "127.0.0.1:0", "--store", "memory:")
	p.stop()
	if got := last(p); !strings.HasSuffix(got, "msg=ended") {
		t.Errorf("the log ends with %q, want ended and no more", got)
	}
	p = start(t, t.TempDir(), nil, "serve", "--addr", "127.0.0.1:0", "--store", "memory:", "--grace", "1ms")
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PUT /objects/CALENDARS/a/calendars HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n")
	if _, err := conn.Read(make([]byte, 1)); err != nil { // of 100 Continue: the request runs
		t.Fatal(err)
	}
	p.stop()
	if got := last(p); !strings.HasSuffix(got, `msg=ended cutOff="1 request"`) {
		t.Errorf("the log ends with %q, want what was cut off", got)
	}
}
