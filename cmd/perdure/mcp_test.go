package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// Eras of MCP: before and since sessions were given up.
const (
	sessions  = "2025-11-25"
	stateless = "2026-07-28"
)

// mcpClient speaks MCP over Streamable HTTP as one user, and keeps everything that it hears.
type mcpClient struct {
	*process
	auth    []string // of the user
	era     string
	session string
	heard   *strings.Builder
}

func (p *process) mcp(era, secret string) *mcpClient {
	c := &mcpClient{process: p, era: era, heard: new(strings.Builder)}
	if secret != "" {
		c.auth = []string{"Authorization", "Bearer " + secret}
	}
	if era == sessions {
		c.send("initialize", map[string]any{"protocolVersion": sessions, "capabilities": map[string]any{}, "clientInfo": map[string]any{"name": "test", "version": "1"}})
		c.send("notifications/initialized", nil)
	}
	return c
}

// with is the same client in another process.
func (c *mcpClient) with(p *process) *mcpClient {
	other := *c
	other.process = p
	return &other
}

func (c *mcpClient) request(method, path, body string) *http.Request {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if len(c.auth) > 0 {
		req.Header.Set(c.auth[0], c.auth[1])
	}
	if c.session != "" {
		req.Header.Set("Mcp-Session-Id", c.session)
	}
	return req
}

// send returns the status and the message in the answer, if there is one.
func (c *mcpClient) send(method string, params map[string]any) (int, string) {
	c.t.Helper()
	if params == nil {
		params = map[string]any{}
	}
	if c.era == stateless {
		params["_meta"] = map[string]any{"io.modelcontextprotocol/protocolVersion": stateless, "io.modelcontextprotocol/clientCapabilities": map[string]any{}}
	}
	message := map[string]any{"jsonrpc": "2.0", "method": method, "params": params}
	if !strings.HasPrefix(method, "notifications/") {
		message["id"] = 1
	}
	body, _ := json.Marshal(message)
	req := c.request("POST", "/mcp", string(body))
	if method != "initialize" {
		req.Header.Set("Mcp-Protocol-Version", c.era)
	}
	if c.era == stateless {
		req.Header.Set("Mcp-Method", method)
		for _, name := range []string{"name", "uri"} {
			if v, ok := params[name].(string); ok {
				req.Header.Set("Mcp-Name", v)
			}
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatalf("%s: %v", method, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("%s: %v", method, err)
	}
	c.heard.Write(data)
	if id := resp.Header.Get("Mcp-Session-Id"); method == "initialize" {
		c.session = id
	}
	return resp.StatusCode, answerIn(string(data))
}

// answerIn returns the last message of a body, plain or as a stream of events.
func answerIn(body string) string {
	answer := body
	for line := range strings.Lines(body) {
		if data, ok := strings.CutPrefix(line, "data: "); ok && strings.TrimSpace(data) != "" {
			answer = data
		}
	}
	return strings.TrimSpace(answer)
}

// tool calls a tool and returns its text, and whether it failed.
func (c *mcpClient) tool(name string, arguments map[string]any) (text string, failed bool) {
	c.t.Helper()
	code, answer := c.send("tools/call", map[string]any{"name": name, "arguments": arguments})
	var got struct {
		Result struct {
			Content []struct{ Text string }
			IsError bool
		}
		Error json.RawMessage
	}
	if err := json.Unmarshal([]byte(answer), &got); code != 200 || err != nil || len(got.Result.Content) == 0 {
		c.t.Fatalf("%s = %d %s", name, code, answer)
	}
	return got.Result.Content[0].Text, got.Result.IsError
}

// open opens a stream and returns its lines; it is closed when the stream ends.
func (c *mcpClient) open(path string) <-chan string {
	c.t.Helper()
	req := c.request("GET", path, "")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	if resp.StatusCode != 200 {
		data, _ := io.ReadAll(resp.Body)
		c.t.Fatalf("GET %s = %d %s", path, resp.StatusCode, data)
	}
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		defer resp.Body.Close()
		in := bufio.NewScanner(resp.Body)
		in.Buffer(nil, 4<<20)
		for in.Scan() {
			lines <- in.Text()
		}
	}()
	return lines
}

// until waits for a line that holds text, and returns it. ok is false if the stream ended before.
func until(lines <-chan string, text string) (line string, ok bool) {
	for line := range lines {
		if strings.Contains(line, text) {
			return line, true
		}
	}
	return "", false
}

var eventIDs = regexp.MustCompile(`"id": "([^"]+)"`)

// TestMCPTwoUsers lets two users write and look on every surface, before and after a kill
// -9. Neither gets anything of the other's, and what there is of the other's is answered
// like what there is not.
func TestMCPTwoUsers(t *testing.T) {
	dir := t.TempDir()
	secrets := map[string]string{"ann": addUser(t, dir, "ann"), "bob": addUser(t, dir, "bob")}
	const operator = "operat0r-t0ken"
	env := []string{"PERDURE_TOKEN=" + operator, "LOG_LEVEL=debug"}
	p := start(t, dir, env, serveArgs...)
	first := p
	type client struct {
		old, new        *mcpClient
		event           string // id
		handle, oldSSE  string // session ids: of a tool, of HTTP+SSE
		closed          <-chan string
		eventURI        string
		calendar, title string
	}
	clients := make(map[string]*client)
	for name, secret := range secrets {
		c := &client{old: p.mcp(sessions, secret), new: p.mcp(stateless, secret), title: "secret-of-" + name}
		clients[name] = c
		text, failed := c.new.tool("createEvent", map[string]any{"title": c.title, "start": "2030-01-02T10:00:00Z", "calendarId": "personal"})
		if failed {
			t.Fatalf("createEvent by %s: %s", name, text)
		}
		for _, m := range eventIDs.FindAllStringSubmatch(text, -1) {
			c.event = m[1]
		}
		_, answer := c.new.send("tools/call", map[string]any{"name": "listCalendars", "arguments": map[string]any{}})
		c.handle = regexp.MustCompile(`"sessionId":"([^"]+)"`).FindStringSubmatch(answer)[1]
		c.closed = c.old.open("/sse")
		line, ok := until(c.closed, "sessionId=")
		if !ok {
			t.Fatal("no endpoint on the stream")
		}
		_, c.oldSSE, _ = strings.Cut(line, "sessionId=")
		c.eventURI = "calendar://calendars/personal/events/" + c.event
		if code, answer := c.old.send("resources/subscribe", map[string]any{"uri": c.eventURI}); code != 200 || strings.Contains(answer, `"error"`) {
			t.Fatalf("subscribe = %d %s", code, answer)
		}
	}
	other := map[string]string{"ann": "bob", "bob": "ann"}
	// same compares two answers that must not tell which id was somebody's.
	same := func(what, theirs, nobodys, theirID, nobodysID string) {
		t.Helper()
		if a, b := strings.ReplaceAll(theirs, theirID, "ID"), strings.ReplaceAll(nobodys, nobodysID, "ID"); a != b {
			t.Errorf("%s\nof the other: %s\nof nobody:    %s", what, a, b)
		}
	}
	check := func(when string, p *process) {
		t.Helper()
		for name, mine := range clients {
			theirs := clients[other[name]]
			var all strings.Builder // that this user hears
			for _, c := range []*mcpClient{mine.old.with(p), mine.new.with(p)} {
				c.heard = &all
				text, failed := c.tool("listEvents", map[string]any{"start": "2030-01-01", "end": "2030-01-03"})
				if failed || !strings.Contains(text, mine.title) {
					t.Errorf("%s: listEvents by %s in %s = %s", when, name, c.era, text)
				}
				for _, id := range []string{mine.event, theirs.event} {
					if text, failed := c.tool("getEventById", map[string]any{"calendarId": "personal", "eventId": id}); failed != (id == theirs.event) {
						t.Errorf("%s: getEventById by %s = %s", when, name, text)
					}
				}
				nobodys := strings.Repeat("a", len(theirs.event))
				for _, tool := range []string{"getEventById", "deleteEvent", "updateEvent"} {
					args := func(id string) map[string]any {
						return map[string]any{"calendarId": "personal", "eventId": id, "title": "x"}
					}
					if tool != "updateEvent" {
						args = func(id string) map[string]any { return map[string]any{"calendarId": "personal", "eventId": id} }
					}
					a, _ := c.tool(tool, args(theirs.event))
					b, _ := c.tool(tool, args(nobodys))
					same(when+": "+tool, a, b, theirs.event, nobodys)
				}
				_, a := c.send("resources/read", map[string]any{"uri": theirs.eventURI})
				nobodysURI := strings.Replace(theirs.eventURI, theirs.event, nobodys, 1)
				_, b := c.send("resources/read", map[string]any{"uri": nobodysURI})
				same(when+": resources/read", a, b, theirs.event, nobodys)
				c.send("resources/list", nil)
				c.send("completion/complete", map[string]any{"ref": map[string]any{"type": "ref/resource", "uri": "calendar://calendars/{calendarId}/events/{eventId}"}, "argument": map[string]any{"name": "eventId", "value": ""}})
				c.tool("listCalendars", nil)

				// The other's handle of a session.
				nobodys = strings.Repeat("0", len(theirs.handle))
				a, failedA := c.tool("listCalendars", map[string]any{"sessionId": theirs.handle})
				b, failedB := c.tool("listCalendars", map[string]any{"sessionId": nobodys})
				if !failedA || !failedB {
					t.Errorf("%s: the other's and nobody's sessionId = %s, %s; want errors", when, a, b)
				}
				same(when+": sessionId", a, b, theirs.handle, nobodys)
			}

			// The other's sessions.
			foreign := mine.old.with(p)
			foreign.heard = &all
			ask := func(session string) (string, string, string) {
				foreign.session = session
				code1, post := foreign.send("tools/list", nil)
				resp, err := http.DefaultClient.Do(foreign.request("GET", "/mcp", ""))
				if err != nil {
					t.Fatal(err)
				}
				get, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				code2, del := foreign.do("DELETE", "/mcp", "", append(mine.old.auth, "Mcp-Session-Id", session)...)
				return fmt.Sprint(code1, post), fmt.Sprint(resp.StatusCode, string(get)), fmt.Sprint(code2, del)
			}
			nobodys := strings.Repeat("A", len(theirs.old.session))
			post1, get1, del1 := ask(theirs.old.session)
			post2, get2, del2 := ask(nobodys)
			if !strings.HasPrefix(post1, "404") || !strings.HasPrefix(get1, "404") || !strings.HasPrefix(del1, "404") {
				t.Errorf("%s: the other's session = %s, %s, %s; want 404", when, post1, get1, del1)
			}
			same(when+": POST of a session", post1, post2, theirs.old.session, nobodys)
			same(when+": GET of a session", get1, get2, theirs.old.session, nobodys)
			same(when+": DELETE of a session", del1, del2, theirs.old.session, nobodys)
			message := `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
			post := func(session string) string {
				code, body := foreign.do("POST", "/messages?sessionId="+session, message, append(mine.old.auth, "Content-Type", "application/json")...)
				return fmt.Sprint(code, body)
			}
			a, b := post(theirs.oldSSE), post(nobodys)
			if !strings.HasPrefix(a, "404") {
				t.Errorf("%s: a message to the other's session = %s, want 404", when, a)
			}
			same(when+": POST /messages", a, b, theirs.oldSSE, nobodys)
			if code, body := foreign.do("GET", "/api/calendars", "", mine.old.auth...); code != 200 || !strings.Contains(body, `"personal"`) {
				t.Errorf("%s: /api/calendars by %s = %d %s", when, name, code, body)
			} else {
				all.WriteString(body)
			}
			for _, path := range []string{"/objects/SESSIONS/" + theirs.handle + "/get?id=" + theirs.handle, "/objects/MCPSession/" + theirs.old.session + "/", "/objects/CALENDARS/x/calendars"} {
				if code, body := foreign.do("GET", path, "", mine.old.auth...); code != 401 {
					t.Errorf("%s: %s by %s = %d %s, want 401", when, path, name, code, body)
				}
			}
			id, _, _ := strings.Cut(secrets[other[name]], ".")
			for _, secret := range []string{theirs.title, id} {
				if strings.Contains(all.String(), secret) {
					t.Errorf("%s: %s has heard %q", when, name, secret)
				}
			}

			// Without a token, or with one that is none, there is nothing.
			for _, path := range []string{"/mcp", "/sse", "/messages?sessionId=" + mine.oldSSE, "/api/calendars"} {
				for _, auth := range [][]string{nil, {"Authorization", "Bearer x"}, {"Authorization", "Bearer " + id + ".wrong"}, {"Authorization", "Bearer " + operator}, basic(name, secrets[name])} {
					resp := p.response("GET", path, auth...)
					challenge := resp.Header.Get("WWW-Authenticate")
					invalid := strings.Contains(challenge, `error="invalid_token"`)
					if resp.StatusCode != 401 || !strings.HasPrefix(challenge, "Bearer realm=") || invalid != (auth != nil && strings.HasPrefix(auth[1], "Bearer")) {
						t.Errorf("%s: GET %s with %.20q = %d %q", when, path, auth, resp.StatusCode, challenge)
					}
				}
			}
		}
		for _, class := range []string{"MCPSession", "MCPUser", "User", "Users", "Home", "Calendar"} { // built in
			if code, body := p.do("GET", "/objects/"+class+"/"+clients["ann"].old.session+"/mcp", "", "Authorization", "Bearer "+operator); code != 404 {
				t.Errorf("%s: /objects/%s by the operator = %d %s, want 404", when, class, code, body)
			}
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	check("at first", p)
	p.kill()
	p = start(t, dir, env, serveArgs...)
	check("after kill -9", p)

	// Subscriptions outlive the crash, and are each user's own.
	streams := make(map[string]<-chan string)
	for name, c := range clients {
		streams[name] = c.old.with(p).open("/mcp")
	}
	for name, c := range clients {
		if text, failed := c.new.with(p).tool("updateEvent", map[string]any{"calendarId": "personal", "eventId": c.event, "location": "here"}); failed {
			t.Fatalf("updateEvent by %s: %s", name, text)
		}
	}
	for name, c := range clients {
		line, ok := until(streams[name], "notifications/resources/updated")
		for ok && !strings.Contains(line, c.eventURI) {
			if strings.Contains(line, clients[other[name]].event) {
				t.Errorf("%s was told of the other's event: %s", name, line)
			}
			line, ok = until(streams[name], "notifications/resources/updated")
		}
		if !ok {
			t.Errorf("%s was not told of the own event", name)
		}
	}

	// At SIGTERM the streams end, and with them the process.
	if code := p.stop(); code != 0 || strings.Contains(p.stderr.String(), "cut off") {
		t.Errorf("exit status with open streams = %d %s, want 0 and nothing cut off", code, p.stderr)
	}
	for name := range clients {
		if _, more := until(streams[name], "\x00"); more {
			t.Error("a stream goes on")
		}
	}
	said := first.stdout.String() + first.stderr.String() + p.stdout.String() + p.stderr.String()
	for _, c := range clients {
		said += c.old.heard.String() + c.new.heard.String()
	}
	hidden := map[string]string{"the operator": operator}
	for name, secret := range secrets {
		_, hidden[name], _ = strings.Cut(secret, ".")
	}
	for name, secret := range hidden {
		if strings.Contains(said, secret) {
			t.Errorf("the secret of %s is in what the server says", name)
		}
	}
}

// TestRemovalEndsStreams removes a user whose streams are open; another's go on.
func TestRemovalEndsStreams(t *testing.T) {
	dir := t.TempDir()
	ann, bob := addUser(t, dir, "ann"), addUser(t, dir, "bob")
	p := start(t, dir, nil, serveArgs...)
	a, b := p.mcp(sessions, ann), p.mcp(sessions, bob)
	streams := []<-chan string{a.open("/mcp"), a.open("/sse")}
	others := b.open("/mcp")
	if code, _, stderr := command(t, dir, nil, "users", "remove", "ann"); code != 0 {
		t.Fatalf("users remove = %d %s", code, stderr)
	}
	for _, s := range streams {
		until(s, "\x00") // its end
	}
	if code, _ := a.send("tools/list", nil); code != 401 {
		t.Errorf("tools/list by a removed user = %d, want 401", code)
	}
	// Another's stream has not ended: it hears of a change.
	uri := "calendar://calendars/personal/events"
	if code, answer := b.send("resources/subscribe", map[string]any{"uri": uri}); code != 200 {
		t.Fatalf("subscribe = %d %s", code, answer)
	}
	if code, body := p.do("PUT", "/dav/calendars/bob/personal/x.ics", fmt.Sprintf(event, "x"), append(basic("bob", bob), "Content-Type", "text/calendar")...); code != 201 {
		t.Fatalf("PUT = %d %s", code, body)
	}
	if line, ok := until(others, "notifications/resources/updated"); !ok || !strings.Contains(line, uri) {
		t.Errorf("bob's stream = %q, %t; want word of what came through /dav/", line, ok)
	}
}

// TestFirstUserEndsStreams has the single user's streams end with the first one who is added.
func TestFirstUserEndsStreams(t *testing.T) {
	dir := t.TempDir()
	for _, token := range []string{"", "t0ken"} {
		p := start(t, dir, []string{"PERDURE_TOKEN=" + token}, append(serveArgs, "--data", "data"+token)...)
		me := p.mcp(sessions, token)
		stream := me.open("/mcp")
		if code, _, stderr := command(t, dir, nil, "users", "add", "ann", "--data", "data"+token); code != 0 {
			t.Fatalf("users add = %d %s", code, stderr)
		}
		until(stream, "\x00")
		if code, _ := me.send("tools/list", nil); code != 401 {
			t.Errorf("tools/list by me once there is a user, with token %q = %d, want 401", token, code)
		}
		p.stop()
	}
}
