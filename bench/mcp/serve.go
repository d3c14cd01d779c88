package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/perdure/perdure/calendar/accounts"
	"github.com/perdure/perdure/calendar/calmcp"
	"github.com/perdure/perdure/calendar/worker"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/pebblestore"
)

// users is how many share the work. Each may have 256 sessions.
const users = 40

// hello is what a server says of itself on standard output.
type hello struct {
	Base   string   // http://host:port
	Tokens []string // of users; one empty one where nobody is asked for any
}

// usage is what a server says of its memory, after a collection.
type usage struct {
	Heap, Stacks, Resident int64
	Goroutines             int
}

// serveOwn serves the worker with its users, who are made if the data is new.
func serveOwn(ctx context.Context, dir, caldav string) error {
	st, err := pebblestore.Open(filepath.Join(dir, "store"), nil)
	if err != nil {
		return err
	}
	var link calmcp.Link
	rt, err := durable.Open(st, &durable.Options{Classes: slices.Concat(worker.Classes(), worker.BuiltIn(&link))})
	if err != nil {
		return errors.Join(err, st.Close())
	}
	w := worker.New(rt, &worker.Options{Link: &link, Key: accounts.KeyFile(filepath.Join(dir, "key")), Rate: -1})
	defer func() { w.Close(); rt.Close() }()
	file := filepath.Join(dir, "tokens")
	var tokens []string
	if data, err := os.ReadFile(file); err == nil {
		tokens = strings.Fields(string(data))
	} else if tokens, err = makeUsers(w, caldav); err != nil {
		return err
	} else if err := os.WriteFile(file, []byte(strings.Join(tokens, "\n")), 0o600); err != nil {
		return err
	}
	return serve(ctx, w, tokens)
}

func makeUsers(w *worker.Worker, caldav string) (tokens []string, err error) {
	client := &http.Client{Transport: worker.InProcess(w.Control())}
	for i := range users {
		name := fmt.Sprint("user", i)
		body, err := control(client, http.MethodPost, "/users", map[string]string{"name": name})
		if err != nil {
			return nil, err
		}
		var u worker.ControlUser
		if err := json.Unmarshal(body, &u); err != nil {
			return nil, err
		}
		tokens = append(tokens, u.Token)
		c := worker.ControlCredential{Server: caldav, Username: name, Password: password}
		if _, err := control(client, http.MethodPut, "/users/"+name+"/credential", c); err != nil {
			return nil, err
		}
	}
	return tokens, nil
}

func control(client *http.Client, method, path string, in any) ([]byte, error) {
	data, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequest(method, "http://perdure"+path, strings.NewReader(string(data)))
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, body)
	}
	return body, err
}

// serveBare serves the SDK's own handlers with one tool that does nothing: stateless, and
// with sessions.
func serveBare(ctx context.Context) error {
	cache := mcp.NewSchemaCache()
	server := func(*http.Request) *mcp.Server {
		s := mcp.NewServer(&mcp.Implementation{Name: "bare"}, &mcp.ServerOptions{SchemaCache: cache})
		mcp.AddTool(s, &mcp.Tool{Name: "empty"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "{}"}}}, nil, nil
		})
		return s
	}
	stateless := mcp.NewStreamableHTTPHandler(server, &mcp.StreamableHTTPOptions{Stateless: true})
	sessions := mcp.NewStreamableHTTPHandler(server, nil)
	return serve(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Mcp-Protocol-Version") >= newEra {
			stateless.ServeHTTP(w, r)
			return
		}
		sessions.ServeHTTP(w, r)
	}), []string{""})
}

// serve serves until ctx ends, and says where.
func serve(ctx context.Context, h http.Handler, tokens []string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/", h)
	mux.HandleFunc("/bench/memory", func(w http.ResponseWriter, r *http.Request) { json.NewEncoder(w).Encode(measureMemory()) })
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { srv.Close() })
	if err := json.NewEncoder(os.Stdout).Encode(hello{"http://" + l.Addr().String(), tokens}); err != nil {
		return err
	}
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func measureMemory() usage {
	for range 3 { // pools give up what they hold at the second collection
		debug.FreeOSMemory()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u := usage{Heap: int64(m.HeapInuse), Stacks: int64(m.StackInuse), Goroutines: runtime.NumGoroutine()}
	data, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			fmt.Sscan(rest, &u.Resident)
			u.Resident <<= 10
		}
	}
	return u
}
