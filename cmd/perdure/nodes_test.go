package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/perdure/perdure/store/pgstore/pgtest"
)

const (
	clusterSecret = "PERDURE_CLUSTER_SECRET=for-tests-0123456789"
	operator      = "operator-for-tests"
)

var nodeEnv = []string{clusterSecret, "PERDURE_TOKEN=" + operator}

var bearer = []string{"Authorization", "Bearer " + operator}

// trio starts three nodes on one database, all at once.
func trio(t *testing.T, dir, store string) []*process {
	t.Helper()
	nodes := make([]*process, 3)
	var ready []<-chan struct{}
	for i := range nodes {
		nodes[i] = launch(t, dir, nodeEnv, nodeArgs(store)...)
		ready = append(ready, nodes[i].ready())
	}
	for i, c := range ready {
		select {
		case <-c:
		case <-time.After(2 * time.Minute):
			t.Fatalf("node %d did not say where it serves within two minutes", i)
		}
		if nodes[i].base == "" {
			nodes[i].wait()
			t.Fatalf("node %d did not start: %s", i, nodes[i].stderr)
		}
	}
	return nodes
}

func nodeArgs(store string) []string {
	return append(serveArgs, "--store", store, "--peer-addr", "127.0.0.1:0", "--grace", "10s")
}

// TestNodes has three nodes serve one system: objects, calendars and MCP, while one leaves and comes back.
func TestNodes(t *testing.T) {
	store := pgtest.Shared(t).Database(t)
	dir := t.TempDir()
	nodes := trio(t, dir, store)
	commandAt := func(args ...string) (int, string, string) {
		t.Helper()
		return command(t, t.TempDir(), []string{clusterSecret}, append(args, "--store", store)...)
	}

	t.Run("objects", func(t *testing.T) {
		for i := range 12 {
			path := fmt.Sprintf("/objects/SESSIONS/o%d", i)
			code, body := nodes[i%3].do("POST", path+"/create", `{"data":{"n":1}}`, bearer...)
			var made struct{ SessionID string }
			if err := json.Unmarshal([]byte(body), &made); code != 200 || err != nil {
				t.Fatalf("create through node %d = %d %s", i%3, code, body)
			}
			if code, body := nodes[(i+1)%3].do("GET", path+"/get?id="+made.SessionID, "", bearer...); code != 200 {
				t.Errorf("get through node %d = %d %s", (i+1)%3, code, body)
			}
		}
	})

	// Commands find a node by the database, and prove themselves by the secret.
	secrets := make(map[string]string)
	for _, name := range []string{"ann", "bob"} {
		code, out, stderr := commandAt("users", "add", name)
		if code != 0 {
			t.Fatalf("users add = %d %s", code, stderr)
		}
		secrets[name] = strings.TrimSpace(out)
	}
	if code, _, stderr := command(t, t.TempDir(), nil, "users", "list", "--store", store); code != 1 || !strings.Contains(stderr, "another process") {
		t.Errorf("users list without the secret = %d %s, want 1 and that the data is held", code, stderr)
	}
	if code, _, stderr := command(t, t.TempDir(), []string{"PERDURE_CLUSTER_SECRET=another-0123456789"}, "users", "list", "--store", store); code != 1 || strings.Contains(stderr, "another-0123456789") {
		t.Errorf("users list with another secret = %d %s, want 1", code, stderr)
	}

	t.Run("calendars", func(t *testing.T) {
		ann := nodes[0].mcp(sessions, secrets["ann"])
		stream := ann.with(nodes[1]).open("/mcp")
		if text, failed := ann.with(nodes[2]).tool("createEvent", map[string]any{"title": "together", "start": "2030-01-02T10:00:00Z", "calendarId": "personal"}); failed {
			t.Fatalf("createEvent: %s", text)
		}
		for i, p := range nodes {
			if text, failed := ann.with(p).tool("listEvents", map[string]any{"start": "2030-01-01", "end": "2030-01-03"}); failed || !strings.Contains(text, "together") {
				t.Errorf("listEvents through node %d = %s", i, text)
			}
		}
		uri := "calendar://calendars/personal/events"
		if code, answer := ann.with(nodes[2]).send("resources/subscribe", map[string]any{"uri": uri}); code != 200 {
			t.Fatalf("subscribe = %d %s", code, answer)
		}
		if code, body := nodes[0].do("PUT", "/dav/calendars/ann/personal/x.ics", fmt.Sprintf(event, "x"), append(basic("ann", secrets["ann"]), "Content-Type", "text/calendar")...); code != 201 {
			t.Fatalf("PUT = %d %s", code, body)
		}
		for i, p := range nodes { // what was written through one is read through all
			if code, body := p.do("GET", "/dav/calendars/ann/personal/x.ics", "", basic("ann", secrets["ann"])...); code != 200 {
				t.Errorf("GET through node %d = %d %s", i, code, body)
			}
		}
		if line, ok := until(stream, "notifications/resources/updated"); !ok || !strings.Contains(line, uri) {
			t.Errorf("the stream on node 1 = %q, %t; want word of what came through node 0", line, ok)
		}
	})

	// What a command changes through one node counts at all of them.
	t.Run("login", func(t *testing.T) {
		nc := nextcloudServer(t, func() bool { return true })
		nc.takesBack.Store(true)
		ann := nodes[0].mcp(stateless, secrets["ann"])
		everywhere := func(elsewhere bool) {
			t.Helper()
			for i, p := range nodes {
				if text, failed := ann.with(p).tool("listCalendars", nil); failed != elsewhere {
					t.Errorf("listCalendars through node %d, with calendars elsewhere: %t = %s", i, elsewhere, text)
				}
			}
		}
		everywhere(false)
		code, _, stderr := commandAt("login", nc.URL+"/cloud", "--user", "ann")
		if code != 0 || !strings.Contains(stderr, "Data: PostgreSQL ") || strings.Contains(stderr, pgtest.Password) {
			t.Fatalf("login = %d %s", code, stderr)
		}
		everywhere(true)
		if code, out, stderr := commandAt("users", "show", "ann"); code != 0 || !strings.Contains(out, "ann@nc at "+nc.URL) {
			t.Errorf("users show = %d %s %s", code, out, stderr)
		}
		if code, out, stderr := commandAt("logout", "--user", "ann"); code != 0 || !strings.Contains(out, "logged out") || nc.returned.Load() != 1 {
			t.Errorf("logout = %d %s %s, and %d passwords were given back", code, out, stderr, nc.returned.Load())
		}
		everywhere(false)
	})

	t.Run("removal", func(t *testing.T) {
		var streams []<-chan string
		for _, p := range nodes {
			streams = append(streams, p.mcp(sessions, secrets["bob"]).open("/mcp"))
		}
		if code, _, stderr := commandAt("users", "remove", "bob", "--purge"); code != 0 {
			t.Fatalf("users remove = %d %s", code, stderr)
		}
		for i, s := range streams {
			until(s, "\x00") // its end
			if code, _ := nodes[i].do("PROPFIND", "/dav/", "", basic("bob", secrets["bob"])...); code != 401 {
				t.Errorf("bob at node %d = %d, want 401", i, code)
			}
		}
	})

	t.Run("drain", func(sub *testing.T) {
		parent := t
		t := sub
		l := newLoad(nodes[1:])
		l.await(t, 300)
		code := nodes[0].stop()
		if code != 0 || strings.Contains(nodes[0].stderr.String(), "not handed over") || strings.Contains(nodes[0].stderr.String(), "cut off") {
			t.Errorf("exit status of the node that left = %d: %s", code, nodes[0].stderr)
		}
		l.await(t, 300)
		nodes[0] = start(parent, dir, nodeEnv, nodeArgs(store)...)
		l.await(t, 1000)
		sessions, errs := l.end()
		for _, err := range errs {
			t.Errorf("a client saw: %s", err)
		}
		for path, id := range sessions {
			if code, body := nodes[0].do("GET", path+"/get?id="+id, "", bearer...); code != 200 {
				t.Fatalf("GET %s = %d %s", path, code, body)
			}
		}
	})

	t.Run("another secret", func(t *testing.T) {
		code, _, stderr := command(t, t.TempDir(), []string{"PERDURE_CLUSTER_SECRET=another-0123456789"}, nodeArgs(store)...)
		if code != 1 || !strings.Contains(stderr, "PERDURE_CLUSTER_SECRET") || strings.Contains(stderr, "another-0123456789") {
			t.Errorf("a node with another secret = %d %s, want 1 and why", code, stderr)
		}
	})

	t.Run("in use", func(t *testing.T) {
		code, _, stderr := command(t, t.TempDir(), nil, append(serveArgs, "--store", store)...)
		if code != 1 || !strings.Contains(stderr, "another process") {
			t.Errorf("alone beside nodes = %d %s, want 1 and that the data is held", code, stderr)
		}
		if code, _, stderr := command(t, t.TempDir(), nil, "stdio", "--store", store); code != 1 || !strings.Contains(stderr, "/mcp") {
			t.Errorf("stdio beside nodes = %d %s, want 1 and what to use", code, stderr)
		}
	})

	for i, p := range nodes {
		if code := p.stop(); code != 0 {
			t.Errorf("exit status of node %d = %d: %s", i, code, p.stderr)
		}
		if out := p.stdout.String() + p.stderr.String(); strings.Contains(out, "for-tests-") || strings.Contains(out, pgtest.Password) {
			t.Errorf("a secret is in the output of node %d", i)
		}
	}

	t.Run("alone", func(t *testing.T) {
		p := start(t, dir, []string{clusterSecret}, append(serveArgs, "--store", store)...)
		if code, body := p.do("GET", "/dav/calendars/ann/personal/x.ics", "", basic("ann", secrets["ann"])...); code != 200 {
			t.Errorf("GET = %d %s", code, body)
		}
		if code, out, stderr := command(t, dir, nil, "users", "list", "--store", store); code != 0 || !strings.Contains(out, "ann") {
			t.Errorf("users list = %d %s %s", code, out, stderr)
		}
		if code := p.stop(); code != 0 {
			t.Errorf("exit status = %d: %s", code, p.stderr)
		}
	})
}

// TestAloneAfterAPause: a process that was stopped while another one took its databases
// over answers nothing any more, and ends as with a broken store.
func TestAloneAfterAPause(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for a lease")
	}
	store := pgtest.Shared(t).Database(t)
	dir := t.TempDir()
	write(t, dir, "wrangler.toml", seedConfig)
	p := start(t, dir, nil, append(serveArgs, "--store", store)...)
	if code, body := p.do("PUT", "/objects/CALENDARS/a/calendars", "[1]"); code != 200 {
		t.Fatalf("PUT = %d %s", code, body)
	}
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var late sync.WaitGroup
	for range 8 { // they wait in front of it
		late.Go(func() {
			resp, err := http.Get(p.base + "/objects/CALENDARS/a/calendars")
			if err != nil {
				return // it had ended
			}
			defer resp.Body.Close()
			if resp.StatusCode < 500 {
				t.Errorf("GET from the process that was stopped = %d, want an error of the server", resp.StatusCode)
			}
		})
	}
	dir = t.TempDir()
	write(t, dir, "wrangler.toml", seedConfig)
	other := start(t, dir, nil, append(serveArgs, "--store", store)...)
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	late.Wait()
	if code := p.wait(); code == 0 || !strings.Contains(p.stderr.String(), "taken the shards over") {
		t.Errorf("exit status = %d: %s, want a failure and why", code, p.stderr)
	}
	if code, body := other.do("GET", "/objects/CALENDARS/a/calendars", ""); code != 200 {
		t.Errorf("GET from the process that took over = %d %s", code, body)
	}
	if code := other.stop(); code != 0 {
		t.Errorf("exit status of the process that took over = %d: %s", code, other.stderr)
	}
}

// load makes sessions through some nodes until it is ended.
type load struct {
	stop chan struct{}
	wg   sync.WaitGroup
	done atomic.Int64

	mu   sync.Mutex
	made map[string]string // path of object -> id of its last session
	errs []string
}

func newLoad(nodes []*process) *load {
	l := &load{stop: make(chan struct{}), made: make(map[string]string)}
	for w := range 4 {
		l.wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-l.stop:
					return
				default:
				}
				l.one(nodes[i%len(nodes)].base, fmt.Sprintf("/objects/SESSIONS/load%d-%d", w, i%50))
			}
		})
	}
	return l
}

func (l *load) one(base, path string) {
	req, err := http.NewRequest("POST", base+path+"/create", strings.NewReader(`{"data":{}}`))
	if err != nil {
		panic(err)
	}
	req.Header.Set(bearer[0], bearer[1])
	resp, err := http.DefaultClient.Do(req)
	var made struct{ SessionID string }
	if err == nil {
		var body []byte
		body, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil && (resp.StatusCode != 200 || json.Unmarshal(body, &made) != nil || made.SessionID == "") {
			err = fmt.Errorf("status %d, body %q", resp.StatusCode, body)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.errs = append(l.errs, err.Error())
		return
	}
	l.made[path] = made.SessionID
	l.done.Add(1)
}

// await waits for n more sessions.
func (l *load) await(t *testing.T, n int64) {
	t.Helper()
	goal := l.done.Load() + n
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for l.done.Load() < goal {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%d sessions of %d within two minutes", l.done.Load(), goal)
		}
	}
}

func (l *load) end() (made map[string]string, errs []string) {
	close(l.stop)
	l.wg.Wait()
	return l.made, l.errs
}

// TestMigrationsOfNodes: nodes make classes together, but do not delete any.
func TestMigrationsOfNodes(t *testing.T) {
	store := pgtest.Shared(t).Database(t)
	dir := t.TempDir()
	write(t, dir, "wrangler.toml", seedConfig)
	p := start(t, dir, []string{clusterSecret}, nodeArgs(store)...)
	if code, body := p.do("PUT", "/objects/CALENDARS/a/calendars", "[1]"); code != 200 {
		t.Fatalf("PUT = %d %s", code, body)
	}
	p.stop()
	write(t, dir, "wrangler.toml", strings.Replace(seedConfig, `  { name = "CALENDARS", class_name = "CalendarCache" }`, "", 1)+
		"\n[[migrations]]\ntag = \"v2\"\ndeleted_classes = [\"CalendarCache\"]\n")
	if code, _, stderr := command(t, dir, []string{clusterSecret}, append(nodeArgs(store), "--yes")...); code != 1 || !strings.Contains(stderr, "--peer-addr") {
		t.Errorf("deleting among nodes = %d %s, want 1 and what to do", code, stderr)
	}
	start(t, dir, nil, append(serveArgs, "--store", store, "--yes")...).stop()
	p = start(t, dir, []string{clusterSecret}, nodeArgs(store)...)
	if code, _ := p.do("GET", "/objects/CALENDARS/a/calendars", ""); code != 404 {
		t.Errorf("binding of a deleted class = %d, want 404", code)
	}
}

func TestSplitDatabases(t *testing.T) {
	for text, want := range map[string]string{
		"postgres://a/x":                              "postgres://a/x",
		"postgres://a/x,postgresql://b/y":             "postgres://a/x|postgresql://b/y",
		"postgres://a,b:5433/x, postgres://c/y?z=1,2": "postgres://a,b:5433/x|postgres://c/y?z=1,2",
	} {
		if got := strings.Join(splitDatabases(text), "|"); got != want {
			t.Errorf("splitDatabases(%q) = %q, want %q", text, got, want)
		}
	}
	at := place{databases: []string{"postgres://u:secret@h:1/d?sslmode=disable", "postgres://h2/e"}}
	if got := at.String(); got != "PostgreSQL h:1/d, h2/e" || regexp.MustCompile("secret").MatchString(got) {
		t.Errorf("String() = %q", got)
	}
}

// What a node cuts off at the end of its grace has time to say so.
func TestLastWords(t *testing.T) {
	over, cancel := context.WithTimeout(t.Context(), -time.Second)
	defer cancel()
	left, cancel := context.WithCancel(t.Context())
	cancel()
	plenty, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	for name, ctx := range map[string]context.Context{"over": over, "left": left, "plenty": plenty, "no limit": t.Context()} {
		words, cancel := lastWords(ctx)
		defer cancel()
		if d, ok := words.Deadline(); words.Err() != nil || ok && time.Until(d) <= 0 {
			t.Errorf("%s: %v, until %v", name, words.Err(), d)
		}
		if ctx.Err() == nil && words != ctx {
			t.Errorf("%s: another context", name)
		}
	}
}
