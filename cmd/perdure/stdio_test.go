package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stdioProcess is a `perdure stdio` that a test has started, and a client of it.
type stdioProcess struct {
	*process
	in    io.WriteCloser
	lines chan string // of standard output
	id    int
	notes []string // notifications that came while an answer was waited for
}

func startStdio(t *testing.T, dir string, env []string, args ...string) *stdioProcess {
	t.Helper()
	s := &stdioProcess{process: launch(t, dir, env, append([]string{"stdio"}, args...)...), lines: make(chan string, 1000)}
	in, err := s.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	s.in = in
	go func() {
		defer close(s.read)
		defer close(s.lines)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 4<<20)
		for lines.Scan() {
			s.lines <- lines.Text()
		}
	}()
	return s
}

// initialize begins in the older era.
func (s *stdioProcess) initialize() {
	s.t.Helper()
	s.call("initialize", map[string]any{"protocolVersion": sessions, "capabilities": map[string]any{}, "clientInfo": map[string]any{"name": "test", "version": "1"}})
	s.say(map[string]any{"jsonrpc": "2.0", "method": "notifications/initialized"})
}

func (s *stdioProcess) say(message map[string]any) {
	s.t.Helper()
	data, _ := json.Marshal(message)
	if _, err := s.in.Write(append(data, '\n')); err != nil {
		s.t.Fatalf("write to stdio: %v", err)
	}
}

// next returns a message that the server sends.
func (s *stdioProcess) next() string {
	s.t.Helper()
	select {
	case line, ok := <-s.lines:
		if !ok {
			s.t.Fatal("stdio has ended")
		}
		if !json.Valid([]byte(line)) || !strings.HasPrefix(line, "{") {
			s.t.Fatalf("stdio wrote %q, which is not protocol", line)
		}
		return line
	case <-time.After(time.Minute):
		s.t.Fatal("nothing from stdio within a minute")
	}
	return ""
}

// call returns the answer to a request.
func (s *stdioProcess) call(method string, params map[string]any) string {
	s.t.Helper()
	s.id++
	s.say(map[string]any{"jsonrpc": "2.0", "id": s.id, "method": method, "params": params})
	for {
		line := s.next()
		var m struct {
			ID     int
			Method string
		}
		json.Unmarshal([]byte(line), &m)
		if m.Method == "" && m.ID == s.id {
			return line
		}
		s.notes = append(s.notes, line)
	}
}

// tool calls a tool that is to succeed.
func (s *stdioProcess) tool(name string, arguments map[string]any) string {
	s.t.Helper()
	answer := s.call("tools/call", map[string]any{"name": name, "arguments": arguments})
	var got struct {
		Result struct {
			Content []struct{ Text string }
			IsError bool
		}
	}
	if json.Unmarshal([]byte(answer), &got); len(got.Result.Content) == 0 || got.Result.IsError {
		s.t.Fatalf("%s = %s", name, answer)
	}
	return got.Result.Content[0].Text
}

// told waits for a notification that a resource has changed.
func (s *stdioProcess) told(uri string) {
	s.t.Helper()
	has := func(line string) bool {
		return strings.Contains(line, "notifications/resources/updated") && strings.Contains(line, uri)
	}
	for i, line := range s.notes {
		if has(line) {
			s.notes = s.notes[i+1:]
			return
		}
	}
	s.notes = nil
	for !has(s.next()) {
	}
}

// end closes standard input and returns the exit status.
func (s *stdioProcess) end() int {
	s.t.Helper()
	s.in.Close()
	for range s.lines {
	}
	return s.wait()
}

func (s *stdioProcess) create(title string) {
	s.t.Helper()
	s.tool("createEvent", map[string]any{"title": title, "start": "2030-01-02T10:00:00Z", "calendarId": "personal"})
}

func (s *stdioProcess) mustSee(title string) {
	s.t.Helper()
	if text := s.tool("listEvents", map[string]any{"start": "2030-01-01", "end": "2030-01-03"}); !strings.Contains(text, title) {
		s.t.Errorf("listEvents = %s, want %s", text, title)
	}
}

const personalEvents = "calendar://calendars/personal/events"

func (s *stdioProcess) subscribe() {
	s.t.Helper()
	if answer := s.call("resources/subscribe", map[string]any{"uri": personalEvents}); strings.Contains(answer, `"error"`) {
		s.t.Fatalf("subscribe = %s", answer)
	}
}

// TestStdioAlone starts where some project has files that look like ours. They are not
// touched: the data is the user's.
func TestStdioAlone(t *testing.T) {
	home, project := t.TempDir(), t.TempDir()
	env := []string{"HOME=" + home}
	write(t, project, "wrangler.toml", "[durable_objects]\nbindings = [{ name = \"X\", class_name = \"Elsewhere\" }]\n[[migrations]]\ntag = \"v1\"\nnew_classes = [\"Elsewhere\"]\n")
	write(t, project, ".env", "NEXTCLOUD_BASE_URL=https://elsewhere.example\n")
	s := startStdio(t, project, env)
	s.initialize()
	s.create("first")
	s.mustSee("first")
	if code := s.end(); code != 0 || s.stdout.Len() > 0 {
		t.Errorf("exit status = %d: %s", code, s.stderr)
	}
	data := filepath.Join(home, ".local", "share", "perdure")
	if !strings.Contains(s.stderr.String(), "data="+data) {
		t.Errorf("the log does not name %s: %s", data, s.stderr)
	}
	if info, err := os.Stat(filepath.Join(data, "store")); err != nil || !info.IsDir() {
		t.Errorf("no data in %s: %v", data, err)
	}
	if entries, _ := os.ReadDir(project); len(entries) != 2 {
		t.Errorf("the folder that it was started in holds %v", entries)
	}

	// Again, from elsewhere, in the other era; a signal ends it.
	s = startStdio(t, t.TempDir(), env)
	answer := s.call("tools/call", map[string]any{"name": "listEvents", "arguments": map[string]any{"start": "2030-01-01", "end": "2030-01-03"},
		"_meta": map[string]any{"io.modelcontextprotocol/protocolVersion": stateless, "io.modelcontextprotocol/clientCapabilities": map[string]any{}}})
	if !strings.Contains(answer, "first") {
		t.Errorf("listEvents after a restart = %s", answer)
	}
	if code := s.stop(); code != 0 {
		t.Errorf("exit status after SIGTERM = %d: %s", code, s.stderr)
	}

	// Commands about the same data find it, and a folder that is here goes first.
	if code, out, stderr := command(t, project, env, "users", "list"); code != 0 || out != "" || !strings.Contains(stderr, "There are no users") {
		t.Errorf("users list = %d %q %s", code, out, stderr)
	}
	here := t.TempDir()
	if err := os.Mkdir(filepath.Join(here, localFolder), 0o700); err != nil {
		t.Fatal(err)
	}
	s = startStdio(t, here, env)
	s.initialize()
	if text := s.tool("listEvents", map[string]any{"start": "2030-01-01", "end": "2030-01-03"}); strings.Contains(text, "first") {
		t.Error("the user's folder was used although there is one here")
	}
	s.end()
	if _, err := os.Stat(filepath.Join(here, localFolder, "store")); err != nil {
		t.Errorf("nothing in the folder that is here: %v", err)
	}
}

// TestStdioBesideServe has a client go on through the ends and beginnings of servers,
// whatever way they end.
func TestStdioBesideServe(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, nil, serveArgs...)
	s := startStdio(t, dir, nil)
	s.initialize()
	s.subscribe()
	web := func(title string) {
		t.Helper()
		path := "/dav/calendars/me/personal/" + title + ".ics"
		if code, body := p.do("PUT", path, strings.ReplaceAll(fmt.Sprintf(event, title), "20260102", "20300102"), "Content-Type", "text/calendar"); code != 201 {
			t.Fatalf("PUT = %d %s", code, body)
		}
	}
	web("by-the-server")
	s.told(personalEvents)
	s.mustSee("by-the-server")
	p.kill()

	s.create("by-itself") // it serves now
	s.mustSee("by-the-server")
	s.mustSee("by-itself")
	s.told(personalEvents)

	p = start(t, dir, nil, serveArgs...) // which is given the data
	s.mustSee("by-itself")
	s.notes = nil
	web("by-the-next")
	s.told(personalEvents)
	s.mustSee("by-the-next")
	if code := p.stop(); code != 0 || strings.Contains(p.stderr.String(), "cut off") {
		t.Errorf("exit status of the server = %d: %s", code, p.stderr)
	}
	s.create("at-last")
	s.mustSee("at-last")
	if code := s.end(); code != 0 {
		t.Errorf("exit status = %d: %s", code, s.stderr)
	}
	if out := s.stderr.String(); strings.Contains(out, "level=ERROR") {
		t.Errorf("log: %s", out)
	}
}

// TestStdioBesideStdio has three clients begin at once and share data that one of their
// processes holds; a server comes and goes, and two of the processes end, one of them
// without warning.
func TestStdioBesideStdio(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, localFolder), 0o700); err != nil {
		t.Fatal(err)
	}
	var all []*stdioProcess
	for range 3 {
		all = append(all, startStdio(t, dir, nil))
	}
	for _, s := range all {
		s.initialize()
		s.subscribe()
	}
	for i, s := range all {
		s.create(fmt.Sprint("of-", i))
		for _, other := range all {
			other.told(personalEvents)
			other.mustSee(fmt.Sprint("of-", i))
		}
	}
	for range 2 {
		p := start(t, dir, nil, serveArgs...)
		for _, s := range all {
			s.mustSee("of-2")
		}
		p.kill()
		for _, s := range all {
			s.mustSee("of-2")
		}
	}
	if code := all[0].end(); code != 0 {
		t.Errorf("exit status = %d: %s", code, all[0].stderr)
	}
	for i := range 3 {
		all[1].mustSee(fmt.Sprint("of-", i))
		all[2].mustSee(fmt.Sprint("of-", i))
	}
	// One of the two holds the data now, and the other one is left.
	left := all[2]
	all[1].kill()
	left.create("alone")
	left.mustSee("alone")
	left.mustSee("of-0")
	if code, _, stderr := command(t, dir, nil, "users", "list"); code != 0 {
		t.Errorf("users list beside stdio = %d %s", code, stderr)
	}
	if code := left.end(); code != 0 {
		t.Errorf("exit status = %d: %s", code, left.stderr)
	}
}

func TestStdioUsers(t *testing.T) {
	dir := t.TempDir()
	ann := addUser(t, dir, "ann")
	addUser(t, dir, "bob")
	a, b := startStdio(t, dir, nil, "--user", "ann"), startStdio(t, dir, nil, "--user", "bob")
	a.initialize()
	b.initialize()
	for choice, warns := range map[string]bool{"": true, "--user me": false} {
		s := startStdio(t, dir, nil, strings.Fields(choice)...)
		s.initialize()
		if code := s.end(); code != 0 || strings.Contains(s.stderr.String(), "--user NAME") != warns {
			t.Errorf("stdio %s = %d %s, want a warning: %t", choice, code, s.stderr, warns)
		}
	}
	a.create("secret-of-ann")
	b.create("secret-of-bob")
	for s, other := range map[*stdioProcess]string{a: "secret-of-bob", b: "secret-of-ann"} {
		if text := s.tool("listEvents", map[string]any{"start": "2030-01-01", "end": "2030-01-03"}); strings.Contains(text, other) || !strings.Contains(text, "secret-of-") {
			t.Errorf("listEvents = %s", text)
		}
	}
	if code, _, stderr := command(t, dir, nil, "users", "remove", "ann"); code != 0 {
		t.Fatalf("users remove = %d %s", code, stderr)
	}
	if answer := a.call("tools/call", map[string]any{"name": "listEvents", "arguments": map[string]any{}}); !strings.Contains(answer, `"error"`) || strings.Contains(answer, "secret") {
		t.Errorf("listEvents by a removed user = %s", answer)
	}
	b.mustSee("secret-of-bob")
	a.end()
	b.mustSee("secret-of-bob")
	if code := b.end(); code != 0 {
		t.Errorf("exit status = %d: %s", code, b.stderr)
	}
	for _, s := range []*stdioProcess{a, b} {
		if _, plain, _ := strings.Cut(ann, "."); strings.Contains(s.stderr.String(), plain) {
			t.Error("a secret is in the log")
		}
	}
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"--user", "ann"}, 1, "no such user"},
		{[]string{"--user", "a/b"}, 1, "no such user"},
		{[]string{"--env", "x", "--data", "elsewhere/data"}, 2, "--config"},
		{[]string{"--store", "nope"}, 2, "--store"},
	} {
		code, out, stderr := command(t, dir, nil, append([]string{"stdio"}, c.args...)...)
		if code != c.status || !strings.Contains(stderr, c.want) || out != "" {
			t.Errorf("stdio %q = %d %q %s, want %d and %q", c.args, code, out, stderr, c.status, c.want)
		}
	}
}

func TestStdioInMemory(t *testing.T) {
	dir := t.TempDir()
	s := startStdio(t, dir, nil, "--store", "memory:")
	s.initialize()
	s.create("gone")
	s.mustSee("gone")
	if code := s.end(); code != 0 {
		t.Errorf("exit status = %d: %s", code, s.stderr)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left in the folder: %v", entries)
	}
}

func TestUserFolder(t *testing.T) {
	for _, c := range []struct {
		system string
		vars   map[string]string
		want   string
	}{
		{"linux", map[string]string{"HOME": "/h"}, "/h/.local/share/perdure"},
		{"linux", map[string]string{"HOME": "/h", "XDG_DATA_HOME": "/x"}, "/x/perdure"},
		{"linux", map[string]string{"HOME": "/h", "XDG_DATA_HOME": "x"}, "/h/.local/share/perdure"},
		{"freebsd", map[string]string{"HOME": "/h"}, "/h/.local/share/perdure"},
		{"darwin", map[string]string{"HOME": "/h", "XDG_DATA_HOME": "/x"}, "/h/Library/Application Support/perdure"},
		{"windows", map[string]string{"HOME": "/h", "LocalAppData": "/l"}, "/l/perdure"},
		{"linux", nil, ""}, {"darwin", nil, ""}, {"windows", nil, ""},
	} {
		got, err := userFolder(&environment{getenv: func(name string) (string, bool) { v, ok := c.vars[name]; return v, ok }}, c.system)
		if filepath.ToSlash(got) != c.want || (err == nil) != (c.want != "") {
			t.Errorf("userFolder(%s, %v) = %q, %v, want %q", c.system, c.vars, got, err, c.want)
		}
	}
}

// TestStdioLendsNextcloud has a client's own Nextcloud in its environment, and the data in
// the hands of servers that have none.
func TestStdioLendsNextcloud(t *testing.T) {
	const secret = "app-p4ss"
	cloud := start(t, t.TempDir(), []string{"PERDURE_TOKEN=" + secret}, serveArgs...)
	path := "/dav/calendars/me/personal/x.ics"
	if code, body := cloud.do("PUT", path, strings.ReplaceAll(fmt.Sprintf(event, "elsewhere"), "20260102", "20300102"), append(basic("me", secret), "Content-Type", "text/calendar")...); code != 201 {
		t.Fatalf("PUT = %d %s", code, body)
	}
	env := []string{"NEXTCLOUD_BASE_URL=" + cloud.base + "/dav/", "NEXTCLOUD_USERNAME=me", "NEXTCLOUD_APP_TOKEN=" + secret}

	dir := t.TempDir()
	p := start(t, dir, nil, serveArgs...)
	web := p.mcp(stateless, "")
	sees := func(c *mcpClient) bool {
		text, _ := c.tool("listEvents", map[string]any{"start": "2030-01-01", "end": "2030-01-03"})
		return strings.Contains(text, "elsewhere")
	}
	s := startStdio(t, dir, env)
	s.initialize()
	s.mustSee("elsewhere")
	if !sees(web) {
		t.Error("the single user's calendars are not the same for all clients")
	}
	other := append([]string{"NEXTCLOUD_USERNAME=she"}, env[0], env[2])
	if code, _, stderr := command(t, dir, other, "stdio"); code != 1 || !strings.Contains(stderr, "another Nextcloud") || strings.Contains(stderr, "http://perdure") {
		t.Errorf("stdio with another Nextcloud = %d %s, want 1", code, stderr)
	}
	p.kill()
	s.mustSee("elsewhere")
	q := start(t, dir, nil, serveArgs...)
	s.mustSee("elsewhere")
	second := startStdio(t, dir, env)
	second.initialize()
	second.mustSee("elsewhere")
	second.end()
	s.mustSee("elsewhere")
	if code := s.end(); code != 0 {
		t.Errorf("exit status = %d: %s", code, s.stderr)
	}
	web = web.with(q)
	for deadline := time.Now().Add(time.Minute); sees(web); {
		if time.Now().After(deadline) {
			t.Fatal("what was lent is still used after its owner's end")
		}
	}
	q.stop()
	for _, out := range []string{s.stderr.String(), second.stderr.String(), p.stderr.String(), q.stderr.String(), web.heard.String()} {
		if strings.Contains(out, secret) {
			t.Errorf("the app password is in the output: %s", out)
		}
	}
}
