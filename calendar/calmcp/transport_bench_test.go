package calmcp_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/perdure/perdure/calendar/calmcp"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/pebblestore"
)

var benchSchemas = mcp.NewSchemaCache()

// emptyServer has one tool, which does nothing.
func emptyServer(_ calmcp.Caller, opts *mcp.ServerOptions) *mcp.Server {
	var o mcp.ServerOptions
	if opts != nil {
		o = *opts
	}
	o.SchemaCache = benchSchemas
	s := mcp.NewServer(&mcp.Implementation{Name: "bench", Version: "1"}, &o)
	mcp.AddTool(s, &mcp.Tool{Name: "empty"}, func(context.Context, *mcp.CallToolRequest, noInput) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "ok"}}}, nil, nil
	})
	return s
}

// benchHandler is a handler on Pebble, as the program has it.
func benchHandler(b *testing.B, change func(o *calmcp.HandlerOptions)) (*calmcp.Handler, *durable.Runtime) {
	st, err := pebblestore.Open(b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	link := new(calmcp.Link)
	rt, err := durable.Open(st, &durable.Options{Classes: calmcp.Classes(link)})
	if err != nil {
		b.Fatal(err)
	}
	opts := &calmcp.HandlerOptions{Link: link, Server: emptyServer}
	if change != nil {
		change(opts)
	}
	h := calmcp.NewHandler(rt, opts)
	b.Cleanup(func() { h.Close(); rt.Close() })
	return h, rt
}

func asMe(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(calmcp.WithUser(r.Context(), "me")))
	})
}

// BenchmarkToolCall is tools/call of an empty tool over HTTP, each client in a session of its
// own, through this package's handler and through the SDK's alone.
func BenchmarkToolCall(b *testing.B) {
	bare := func(o *mcp.StreamableHTTPOptions) http.Handler {
		s := emptyServer(calmcp.Caller{}, nil)
		return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, o)
	}
	for _, bb := range []struct {
		name      string
		stateless bool
		handler   func() http.Handler
	}{
		{"sessions", false, func() http.Handler { h, _ := benchHandler(b, nil); return asMe(h.MCP()) }},
		{"sessions, SDK alone", false, func() http.Handler { return bare(nil) }},
		{"stateless", true, func() http.Handler { h, _ := benchHandler(b, nil); return asMe(h.MCP()) }},
		{"stateless, SDK alone", true, func() http.Handler { return bare(&mcp.StreamableHTTPOptions{Stateless: true}) }},
	} {
		srv := httptest.NewServer(bb.handler())
		for _, clients := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/%d", bb.name, clients), func(b *testing.B) {
				client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
				var wg sync.WaitGroup
				for i := range clients {
					n := b.N / clients
					if i < b.N%clients {
						n++
					}
					wg.Go(func() {
						session := ""
						if !bb.stateless {
							session = benchSend(b, client, srv.URL, "", fmt.Sprintf(initializeBody, "2025-11-25"), false)
						}
						for range n {
							benchSend(b, client, srv.URL, session, "", bb.stateless)
						}
					})
				}
				wg.Wait()
			})
		}
		srv.Close()
	}
}

func benchSend(b *testing.B, client *http.Client, url, session, body string, stateless bool) (began string) {
	if body == "" {
		body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"empty","arguments":{}}}`
		if stateless {
			body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"empty","arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
		}
	}
	r, _ := http.NewRequest("POST", url, strings.NewReader(body))
	r.Header.Set("Accept", "application/json, text/event-stream")
	r.Header.Set("Content-Type", "application/json")
	switch {
	case stateless:
		r.Header.Set("Mcp-Protocol-Version", "2026-07-28")
		r.Header.Set("Mcp-Method", "tools/call")
		r.Header.Set("Mcp-Name", "empty")
	case session != "":
		r.Header.Set("Mcp-Protocol-Version", "2025-11-25")
		r.Header.Set("Mcp-Session-Id", session)
	}
	resp, err := client.Do(r)
	if err != nil {
		b.Error(err)
		return ""
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || !strings.Contains(string(answer), `"result"`) {
		b.Errorf("%d %s %v", resp.StatusCode, answer, err)
	}
	return resp.Header.Get("Mcp-Session-Id")
}

// BenchmarkOpenSessions is what 10,000 sessions of an older revision take in memory: at
// rest, in memory, and with an open stream each. Use -benchtime 1x.
func BenchmarkOpenSessions(b *testing.B) {
	const sessions = 10_000
	for b.Loop() {
		h, _ := benchHandler(b, func(o *calmcp.HandlerOptions) {
			o.MaxSessions = sessions
			o.Check = func(context.Context, string, []string) time.Duration {
				b.Error("a check without a subscription")
				return time.Hour
			}
		})
		mux := asMe(h.MCP())
		before := heap()
		ids := make([]string, sessions)
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				for j := i; j < sessions; j += 16 {
					rec := httptest.NewRecorder()
					r := httptest.NewRequest("POST", "/mcp", strings.NewReader(fmt.Sprintf(initializeBody, "2025-11-25")))
					r.Header.Set("Accept", "application/json, text/event-stream")
					r.Header.Set("Content-Type", "application/json")
					mux.ServeHTTP(rec, r)
					ids[j] = rec.Header().Get("Mcp-Session-Id")
				}
			})
		}
		wg.Wait()
		b.ReportMetric(float64(heap()-before)/sessions, "B/resident")
		ctx, cancel := context.WithCancel(context.Background())
		var streams, open sync.WaitGroup
		for _, id := range ids {
			open.Add(1)
			r := httptest.NewRequest("GET", "/mcp", nil).WithContext(ctx)
			r.Header.Set("Accept", "text/event-stream")
			r.Header.Set("Mcp-Session-Id", id)
			r.Header.Set("Mcp-Protocol-Version", "2025-11-25")
			streams.Go(func() { mux.ServeHTTP(&openNotice{ResponseRecorder: httptest.NewRecorder(), open: open.Done}, r) })
		}
		open.Wait()
		b.ReportMetric(float64(heap()-before)/sessions, "B/streaming")
		b.ReportMetric(float64(runtime.NumGoroutine())/sessions, "goroutines/streaming")
		cancel()
		streams.Wait()
		time.Sleep(25 * time.Second) // more than two idle timeouts
		b.ReportMetric(float64(heap()-before)/sessions, "B/asleep")
	}
}

type openNotice struct {
	*httptest.ResponseRecorder
	once sync.Once
	open func()
}

func (o *openNotice) Flush() { o.once.Do(o.open) }

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
