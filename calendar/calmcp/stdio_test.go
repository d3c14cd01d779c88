package calmcp_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/perdure/perdure/calendar/calmcp"
)

// pipe is a client on standard input and output.
type pipe struct {
	t     *testing.T
	in    *io.PipeWriter
	lines chan string
	done  chan error
	stop  context.CancelFunc
}

func (w *world) stdio(client *http.Client, url string) *pipe {
	w.t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	ctx, cancel := context.WithCancel(w.t.Context())
	p := &pipe{t: w.t, in: inW, lines: make(chan string, 100), done: make(chan error, 1), stop: cancel}
	go func() {
		err := calmcp.ServeStdio(ctx, inR, outW, &calmcp.StdioOptions{Client: client, URL: url, Header: http.Header{"X-User": {"ann"}}, Patience: time.Minute, MaxMessageBytes: 10_000})
		outW.Close()
		p.done <- err
	}()
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(outR); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	w.t.Cleanup(func() { cancel(); inW.Close() })
	return p
}

// ways are those to the server.
func (w *world) ways() map[string]func() *pipe {
	return map[string]func() *pipe{
		"in process": func() *pipe { return w.stdio(&http.Client{Transport: front{w}}, "") },
		"http":       func() *pipe { return w.stdio(http.DefaultClient, w.url+"/mcp") },
	}
}

// front is in-process access to the handler of the moment.
type front struct{ w *world }

func (f front) RoundTrip(r *http.Request) (*http.Response, error) {
	return calmcp.InProcess(f.w.front.Load(), "ann").RoundTrip(r)
}

func (p *pipe) send(format string, args ...any) {
	p.t.Helper()
	if _, err := fmt.Fprintf(p.in, format+"\n", args...); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pipe) next() string {
	p.t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	select {
	case line, ok := <-p.lines:
		if !ok {
			p.t.Fatal("standard output has ended")
		}
		return line
	case <-limit.C:
		p.t.Fatal("nothing for a minute")
	}
	return ""
}

func (p *pipe) want(parts ...string) string {
	p.t.Helper()
	line := p.next()
	for _, part := range parts {
		if !strings.Contains(line, part) {
			p.t.Fatalf("line %s, want %q in it", line, part)
		}
	}
	return line
}

// end closes standard input and waits.
func (p *pipe) end() {
	p.t.Helper()
	p.in.Close()
	if err := <-p.done; err != nil {
		p.t.Errorf("ServeStdio: %v", err)
	}
	for line := range p.lines {
		p.t.Errorf("line at the end: %s", line)
	}
}

func (p *pipe) begin(version string) {
	p.t.Helper()
	p.send(initializeBody, version)
	p.want(`"id":0`, fmt.Sprintf(`"protocolVersion":%q`, version))
	p.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
}

func TestStdio(t *testing.T) {
	for name := range (&world{}).ways() {
		for _, version := range revisions {
			t.Run(name+" "+version, func(t *testing.T) {
				w := newWorld(t, nil)
				p := w.ways()[name]()
				p.begin(version)
				p.send(`{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"who","arguments":{}}}`)
				p.want(`"id":"x"`, "ann in ")
				p.send(`{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"test://a"}}`)
				p.want(`"id":1`, "result")
				w.notify("ann", "test://a")
				p.want("resources/updated", "test://a")

				// Side by side, and cancelled.
				p.send(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"wait","arguments":{}}}`)
				<-w.started
				p.send(`{"jsonrpc":"2.0","id":3,"method":"ping"}`)
				p.want(`"id":3`)
				p.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}`)
				if err := <-w.ended; err == nil {
					t.Error("the call was not cancelled")
				}
				p.want(`"id":2`)

				// The server asks.
				p.send(`{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"ask","arguments":{}}}`)
				var question struct{ ID any }
				if err := json.Unmarshal([]byte(p.want("elicitation/create")), &question); err != nil {
					t.Fatal(err)
				}
				p.send(`{"jsonrpc":"2.0","id":%s,"result":{"action":"decline"}}`, canonical(question.ID))
				p.want(`"id":4`, "decline")

				p.send(`no JSON`)
				p.want("-32700")
				p.send(`{"jsonrpc":"2.0","id":5,"method":"ping","params":{"x":"%s"}}`, strings.Repeat("x", 11_000))
				p.want("longer than 10000 bytes")
				p.send(`{"jsonrpc":"2.0","id":6,"method":"no/such"}`)
				p.want(`"id":6`, "-32601", "no/such")
				p.send(`{"jsonrpc":"2.0","method":"notifications/no/such"}`)
				p.send(`[]`)
				p.want(`"id":null`, "-32600")
				p.send(`1`)
				p.want(`"id":null`, "-32600")
				p.end()
				for _, class := range []string{calmcp.SessionClass, calmcp.UserClass} {
					if all := w.rt.Objects(class); len(all) > 0 {
						t.Errorf("left of %s: %+v", class, all)
					}
				}
			})
		}
	}
}

// The server starts again, and the client does not notice.
func TestStdioOverCrash(t *testing.T) {
	w := newWorld(t, nil)
	for name, way := range w.ways() {
		t.Run(name, func(t *testing.T) {
			p := way()
			p.begin("2025-11-25")
			p.send(`{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"test://a"}}`)
			p.want(`"id":1`)
			w.notify("ann", "test://a")
			p.want("resources/updated")
			w.crash()
			w.notify("ann", "test://a")
			p.want("resources/updated")
			// Even the session may be gone.
			if err := w.h.EndUser(t.Context(), "ann"); err != nil {
				t.Fatal(err)
			}
			p.send(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"who","arguments":{}}}`)
			p.want(`"id":2`, "ann in ")
			w.notify("ann", "test://a")
			p.want("resources/updated")
			p.end()
		})
	}
}

func TestStdioModern(t *testing.T) {
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`
	w := newWorld(t, nil)
	for name, way := range w.ways() {
		t.Run(name, func(t *testing.T) {
			p := way()
			p.send(`{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{%s}}`, meta)
			p.want(`"id":1`, "2026-07-28")
			p.send(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"who","arguments":{},%s}}`, meta)
			p.want(`"id":2`, "ann in ")
			p.send(`{"jsonrpc":"2.0","id":"l","method":"subscriptions/listen","params":{"notifications":{"resourceSubscriptions":["test://a"]},%s}}`, meta)
			p.want("acknowledged")
			w.notify("ann", "test://a")
			p.want("resources/updated", `subscriptionId":"l"`)
			p.send(`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"wait","arguments":{},%s}}`, meta)
			<-w.started
			p.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}`)
			if err := <-w.ended; err == nil {
				t.Error("the call was not cancelled")
			}
			p.send(`{"jsonrpc":"2.0","id":4,"method":"resources/read","params":{"uri":"test://a",%s}}`, meta)
			p.want(`"id":4`, `"text":"ann"`)
			p.send(`{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"nosuch","arguments":{},%s}}`, meta)
			p.want(`"id":5`, "error")
			p.end()
		})
	}
}

// What is under way at the end of the input is answered; the end of the context ends all.
func TestStdioEnds(t *testing.T) {
	w := newWorld(t, nil)
	for name, way := range w.ways() {
		t.Run(name, func(t *testing.T) {
			p := way()
			p.begin("2025-11-25")
			p.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"wait","arguments":{}}}`)
			<-w.started
			p.in.Close()
			w.release <- struct{}{}
			p.want(`"id":1`, "waited")
			if err := <-p.done; err != nil {
				t.Error(err)
			}
			p = way()
			p.begin("2025-11-25")
			p.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"wait","arguments":{}}}`)
			<-w.started
			p.stop()
			if err := <-p.done; !errors.Is(err, context.Canceled) {
				t.Errorf("ServeStdio = %v", err)
			}
		})
	}
}

// The SDK's own client over the bridge.
func TestStdioClient(t *testing.T) {
	w := newWorld(t, nil)
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- calmcp.ServeStdio(t.Context(), inR, outW, &calmcp.StdioOptions{Client: &http.Client{Transport: front{w}}})
		outW.Close()
	}()
	heard := make(chan string, 10)
	c := mcp.NewClient(&mcp.Implementation{Name: "c", Version: "1"}, &mcp.ClientOptions{
		ResourceUpdatedHandler: func(_ context.Context, r *mcp.ResourceUpdatedNotificationRequest) { heard <- r.Params.URI },
	})
	session, err := c.Connect(t.Context(), &mcp.IOTransport{Reader: outR, Writer: inW}, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "who"})
	if err != nil || !strings.HasPrefix(res.Content[0].(*mcp.TextContent).Text, "ann in") {
		t.Errorf("who = %+v, %v", res, err)
	}
	if err := session.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// breaking loses the answers to the first requests that hold a text.
type breaking struct {
	http.RoundTripper
	text string
	left *atomic.Int32
}

func (b breaking) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	if strings.Contains(string(body), b.text) && b.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "read", Net: "unix", Err: errors.New("reset, by /secret/path")}
	}
	return b.RoundTripper.RoundTrip(r)
}

// A lost answer: what may have been done is not asked for again, and the client is told to look.
func TestStdioLostAnswer(t *testing.T) {
	w := newWorld(t, nil)
	left := new(atomic.Int32)
	left.Store(1)
	p := w.stdio(&http.Client{Transport: breaking{front{w}, "tools/call", left}}, "")
	p.send(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`)
	p.want(`"id":1`, `"result"`)
	p.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	p.send(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"who"}}`)
	if line := p.want(`"id":2`, `look whether what was asked has been done`); strings.Contains(line, "secret") {
		t.Errorf("the answer tells why: %s", line)
	}
	p.end()

	left.Store(2)
	p = w.stdio(&http.Client{Transport: breaking{front{w}, "tools/list", left}}, "")
	p.send(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`)
	p.want(`"id":1`, `"result"`)
	p.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	p.send(`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`)
	p.want(`"id":2`, `"tools"`)
	p.end()
}
