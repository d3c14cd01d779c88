package calmcp

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/perdure/perdure/durable"
)

// HandlerOptions configures a [Handler]. A zero field means its default.
type HandlerOptions struct {
	// Link is what [Classes] was called with. It is needed.
	Link *Link

	// Server returns a new server for a caller: [Surface.Server]. It is needed. It must use
	// what opts sets, must not wait for anything, and is called again for the same session
	// whenever that comes back into memory; none of its servers is ever shared by two users.
	Server func(c Caller, opts *mcp.ServerOptions) *mcp.Server

	// Check, if not nil, looks whether resources of a user have changed in a way that nobody
	// tells [Handler.Notify] of, has it told, and returns when to look again. It is called for
	// users while they have streams open here that have subscribed to something: once for
	// all of them, with all their URIs, for 8 users at a time. Its context ends with
	// the last of the streams.
	Check func(ctx context.Context, user string, uris []string) (again time.Duration)

	// MessagesPath is where clients of HTTP+SSE send messages. Default: "/messages".
	MessagesPath string

	// KeepAlive is how often an open stream gets a comment, so that nobody on the way
	// takes it for dead. Default: 30 s; negative: never.
	KeepAlive time.Duration

	// SessionTTL is how long a session of the older eras lives from its last use; an open
	// stream uses it. Default: 7 days.
	SessionTTL time.Duration

	// MaxSessions is how many sessions of the older eras a user may have. The one unused
	// for the longest time ends for one more. Default: 256.
	MaxSessions int

	// MaxStreams is how many requests of one session, and how many subscriptions/listen of one
	// user, may be under way, open streams counted in; more are answered 429. Default: 64.
	MaxStreams int

	// MaxCalls is how many other requests without a session of one user may be. Default: 512.
	MaxCalls int

	// MaxSubscriptions is how many resources a session may have subscribed to. Default: 256.
	MaxSubscriptions int

	// MaxBodyBytes bounds a request's body; longer ones are answered 413. Default: 4 MiB.
	MaxBodyBytes int64

	// LogEvents and LogBytes bound what a session keeps of its streams for clients that come
	// back. What is dropped can't be replayed: 400. Defaults: 512 events, 1 MiB.
	LogEvents int
	LogBytes  int

	// SaveDelay is how long an answer that was sent is kept in memory only. Then it is written
	// down with others, for clients that have lost it on the way. Default: 500 ms.
	SaveDelay time.Duration

	// Logger receives what no client can be told. Nil discards.
	Logger *slog.Logger
}

func (o HandlerOptions) withDefaults() HandlerOptions {
	if o.MessagesPath == "" {
		o.MessagesPath = "/messages"
	}
	switch {
	case o.KeepAlive == 0:
		o.KeepAlive = 30 * time.Second
	case o.KeepAlive < 0:
		o.KeepAlive = 0
	}
	orDefault(&o.SessionTTL, 7*24*time.Hour)
	orDefault(&o.MaxSessions, 256)
	orDefault(&o.MaxStreams, 64)
	orDefault(&o.MaxCalls, 512)
	orDefault(&o.MaxSubscriptions, 256)
	orDefault(&o.MaxBodyBytes, 4<<20)
	orDefault(&o.LogEvents, 512)
	orDefault(&o.LogBytes, 1<<20)
	orDefault(&o.SaveDelay, 500*time.Millisecond)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func orDefault[T int | int64 | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// Handler serves the Model Context Protocol, all revisions, to users whom somebody else
// has checked: requests need [WithUser]. It may be used by any goroutine.
//
// It only finds out where a request belongs: to the object of its session, or, in the
// revisions without sessions, to that of its user. There the SDK's handlers serve it.
type Handler struct {
	rt   *durable.Runtime
	opts HandlerOptions
	log  *slog.Logger

	life context.Context // ends with Close
	end  context.CancelFunc

	watches watches

	mu     sync.Mutex
	closed bool           // guarded by mu
	inside sync.WaitGroup // requests; Add under mu
}

// NewHandler returns a handler on a runtime that has the [Classes] of the same [Link].
func NewHandler(rt *durable.Runtime, opts *HandlerOptions) *Handler {
	h := &Handler{rt: rt, opts: opts.withDefaults()}
	h.log = h.opts.Logger
	h.watches.check = h.opts.Check
	h.life, h.end = context.WithCancel(context.Background())
	h.opts.Link.handler.Store(h)
	return h
}

type userKey struct{}

// WithUser returns a context for requests of a user, by id. What it says is trusted.
func WithUser(ctx context.Context, user string) context.Context {
	return context.WithValue(ctx, userKey{}, user)
}

func userOf(ctx context.Context) (user string, ok bool) {
	user, ok = ctx.Value(userKey{}).(string)
	return user, ok && user != ""
}

// Ways to the objects: paths of their requests.
const (
	pathMCP       = "/mcp"       // MCPSession: a request of the session
	pathNew       = "/new"       // MCPSession: initialize
	pathSSE       = "/sse"       // MCPSession: the stream of HTTP+SSE
	pathMessages  = "/messages"  // MCPSession: a message for it
	pathUnknown   = "/unknown"   // MCPSession: a message of no known method, or none
	pathStateless = "/stateless" // MCPUser
	pathListen    = "/listen"    // MCPUser: subscriptions/listen
)

// What the handler tells the objects, in headers that no client's request has.
const (
	ownHeaders  = "Perdure-"
	userHeader  = ownHeaders + "User"
	callsHeader = ownHeaders + "Calls" // the ids of calls in the body: a JSON array, escaped
	wrongHeader = ownHeaders + "Wrong" // what the SDK would answer in part and wait for the rest for ever
	postHeader  = ownHeaders + "Post"  // the session's number for the request
)

// MCP serves /mcp: Streamable HTTP of all revisions, stateless and with sessions.
func (h *Handler) MCP() http.Handler { return http.HandlerFunc(h.serveMCP) }

// SSE serves GET /sse: the stream of HTTP+SSE, which is the session.
func (h *Handler) SSE() http.Handler { return http.HandlerFunc(h.serveSSE) }

// Messages serves POST /messages?sessionId=: what clients of HTTP+SSE send.
func (h *Handler) Messages() http.Handler { return http.HandlerFunc(h.serveMessages) }

func (h *Handler) serveMCP(w http.ResponseWriter, r *http.Request) {
	q, done, ok := h.admit(w, r, "GET, POST, DELETE")
	if !ok {
		return
	}
	defer done()
	var body envelope
	if r.Method == http.MethodPost {
		if !q.readBody() {
			return
		}
		if body = openEnvelope(q.body); len(body.messages) > maxBatch {
			problemBatch.write(w)
			return
		}
		if !body.idsKept() {
			problemID.write(w)
			return
		}
	}
	if body.isStateless(r.Header.Get(versionHeader)) {
		path := pathStateless
		if body.is("subscriptions/listen") {
			path = pathListen
		}
		q.pass(h.user(q.user), path, envelope{})
		return
	}
	switch id := r.Header.Get(sessionHeader); {
	case id == "" && body.is("initialize") && len(body.calls()) == 1:
		q.pass(h.session(rand.Text()), pathNew, body)
	case id == "" && r.Method == http.MethodPost && len(body.messages) == 0:
		noMessage(q.body).write(w)
	case id == "":
		problemSessionID.write(w)
	case !validID(id):
		problemNoSession.write(w)
	case body.isUnknown(), r.Method == http.MethodPost && len(body.messages) == 0:
		q.pass(h.session(id), pathUnknown, body)
	default:
		q.body = body.renamed(q.body)
		q.pass(h.session(id), pathMCP, body)
	}
}

func (h *Handler) serveSSE(w http.ResponseWriter, r *http.Request) {
	q, done, ok := h.admit(w, r, "GET")
	if !ok {
		return
	}
	defer done()
	q.pass(h.session(rand.Text()), pathSSE, envelope{})
}

func (h *Handler) serveMessages(w http.ResponseWriter, r *http.Request) {
	q, done, ok := h.admit(w, r, "POST")
	if !ok {
		return
	}
	defer done()
	id := r.URL.Query().Get("sessionId")
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case id == "":
		problemQuery.write(w)
	case !validID(id):
		problemNoSession.write(w)
	case err != nil || mediaType != "application/json":
		problemType.write(w)
	case q.readBody():
		path := pathMessages
		if body := openEnvelope(q.body); body.isUnknown() {
			path = pathUnknown
		}
		q.pass(h.session(id), path, envelope{})
	}
}

// validID says whether a session may have this id: what [rand.Text] makes.
func validID(id string) bool {
	return len(id) == 26 && strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

func (h *Handler) session(id string) *durable.Stub { return h.rt.Namespace(SessionClass).Named(id) }

func (h *Handler) user(id string) *durable.Stub { return h.rt.Namespace(UserClass).Named(id) }

// request is a request that was let in.
type request struct {
	h    *Handler
	w    *stream
	r    *http.Request // its context ends with the handler, too
	user string
	body []byte
}

// admit lets a request in, or answers it. After it, done must be called.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request, methods string) (q *request, done func(), ok bool) {
	user, known := userOf(r.Context())
	switch {
	case !known:
		problemNoUser.write(w)
		return nil, nil, false
	case !slices.Contains(strings.Split(methods, ", "), r.Method):
		w.Header().Set("Allow", methods)
		problemMethod.write(w)
		return nil, nil, false
	}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		problemClosed.write(w)
		return nil, nil, false
	}
	h.inside.Add(1)
	h.mu.Unlock()
	ctx, cancel := context.WithCancel(r.Context())
	stop := context.AfterFunc(h.life, cancel)
	out := newStream(w, h.opts.KeepAlive, cancel)
	return &request{h: h, w: out, r: r.WithContext(ctx), user: user}, func() {
		out.close()
		stop()
		cancel()
		h.inside.Done()
	}, true
}

// bodyStall is how long nothing of a body may arrive.
const bodyStall = 20 * time.Second

// readBody reads the body whole, or answers the request.
func (q *request) readBody() bool {
	limit := q.h.opts.MaxBodyBytes
	if q.r.ContentLength > limit {
		problemTooLarge(limit).write(q.w)
		return false
	}
	in := http.MaxBytesReader(q.w.ResponseWriter, q.r.Body, limit)
	var body bytes.Buffer
	piece := make([]byte, min(max(q.r.ContentLength+1, 512), 32<<10))
	for {
		q.w.control.SetReadDeadline(time.Now().Add(bodyStall)) // an error: not that kind of connection
		n, err := in.Read(piece)
		body.Write(piece[:n])
		var tooLarge *http.MaxBytesError
		switch {
		case err == io.EOF:
			q.w.control.SetReadDeadline(time.Time{})
			q.body = body.Bytes()
			return true
		case errors.As(err, &tooLarge):
			problemTooLarge(limit).write(q.w)
			return false
		case err != nil || q.r.Context().Err() != nil:
			problemBody.write(q.w)
			return false
		}
	}
}

// draining says whether the runtime finishes what runs and takes nothing new.
func (h *Handler) draining() bool {
	select {
	case <-h.rt.Draining():
		return true
	default:
		return false
	}
}

// pass has an object serve the request.
func (q *request) pass(to *durable.Stub, path string, body envelope) {
	r := q.r.Clone(q.r.Context())
	r.URL = &url.URL{Path: path}
	r.RequestURI = path
	for name := range r.Header {
		if strings.HasPrefix(name, ownHeaders) {
			delete(r.Header, name)
		}
	}
	r.Header.Del("Authorization") // secrets have done their work
	r.Header.Del("Cookie")
	r.Header.Set(userHeader, url.QueryEscape(q.user))
	if calls := body.calls(); len(calls) > 0 {
		ids, err := json.Marshal(calls)
		if err != nil { // they were read from JSON
			problemInternal.write(q.w)
			return
		}
		r.Header.Set(callsHeader, url.QueryEscape(string(ids)))
	}
	if path == pathMCP && body.batch && !body.idsDiffer() {
		r.Header.Set(wrongHeader, "twice")
	}
	r.Body, r.ContentLength = http.NoBody, 0
	if len(q.body) > 0 {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(q.body)), int64(len(q.body))
	}
	to.ServeHTTP(q.w, r)
}

// userIn returns the user whom the handler has put into an object's request.
func userIn(r *http.Request) string {
	user, err := url.QueryUnescape(r.Header.Get(userHeader))
	if err != nil {
		return ""
	}
	return user
}

// callsIn returns the ids of the calls in a body, as the handler has put them into an object's request.
func callsIn(r *http.Request) (ids []json.RawMessage) {
	text, err := url.QueryUnescape(r.Header.Get(callsHeader))
	if err != nil || json.Unmarshal([]byte(text), &ids) != nil {
		return nil
	}
	return ids
}

// note is what has changed for a user.
type note struct {
	URIs []string
	List bool // the list of resources
}

// Notify tells the user's clients, wherever their sessions and streams are, that
// resources have changed: uris to those that have subscribed to them, and, with list, to
// everybody that the list of resources has changed. It returns when sessions whose client
// is not connected have written it down.
func (h *Handler) Notify(ctx context.Context, user string, uris []string, list bool) {
	if len(uris) == 0 && !list {
		return
	}
	targets, err := durable.Call(ctx, h.user(user), (*mcpUser).Notify, note{uris, list})
	if err != nil {
		h.log.LogAttrs(ctx, slog.LevelWarn, "a user's clients were not told of a change", slog.String("user", user), slog.Any("error", err))
		return
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, notifyAtOnce)
	for _, t := range targets {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := h.notifySession(ctx, user, t); err != nil {
				h.log.LogAttrs(ctx, slog.LevelWarn, "a session was not told of a change", slog.String("user", user), slog.Any("error", err))
			}
		})
	}
	wg.Wait()
}

// notifyAtOnce is how many sessions are told at a time.
const notifyAtOnce = 16

func (h *Handler) notifySession(ctx context.Context, user string, t target) error {
	known, err := durable.Call(ctx, h.session(t.Session), (*mcpSession).Notify, t.Note)
	if err == nil && !known { // it ended in a way that could not say so
		err = durable.Exec(ctx, h.user(user), (*mcpUser).Leave, t.Session)
	}
	return err
}

// NotifyTouched is Notify for what can't be listed: each resource that a client of the user
// has subscribed to is one that has changed if touched says so.
func (h *Handler) NotifyTouched(ctx context.Context, user string, touched func(uri string) bool, list bool) {
	var uris []string
	after := ""
	for {
		page, err := durable.Call(ctx, h.user(user), (*mcpUser).Watched, after)
		if err != nil {
			h.log.LogAttrs(ctx, slog.LevelWarn, "a user's clients were not told of a change", slog.String("user", user), slog.Any("error", err))
			return
		}
		for _, uri := range page {
			if touched(uri) {
				uris = append(uris, uri)
			}
		}
		if len(page) < watchedPage {
			break
		}
		after = page[len(page)-1]
	}
	h.Notify(ctx, user, uris, list)
}

// Settle returns when no [HandlerOptions.Check] of a user runs in this process any more, whose
// streams have ended.
func (h *Handler) Settle(ctx context.Context, user string) error { return h.watches.settle(ctx, user) }

// EndUser ends all streams and sessions of a user who was removed, and deletes what is
// kept of them. It may be called again.
func (h *Handler) EndUser(ctx context.Context, user string) error {
	all, err := durable.Call0(ctx, h.user(user), (*mcpUser).End)
	if err != nil {
		return fmt.Errorf("calmcp: end streams of user %s: %w", user, err)
	}
	for _, id := range all {
		if err := durable.Exec(ctx, h.session(id), (*mcpSession).End, user); err != nil {
			return fmt.Errorf("calmcp: end sessions of user %s: %w", user, err)
		}
	}
	// Last, so that what breaks off can be done again.
	if err := durable.Exec0(ctx, h.user(user), (*mcpUser).Forget); err != nil {
		return fmt.Errorf("calmcp: forget sessions of user %s: %w", user, err)
	}
	return nil
}

// Close ends all streams and returns when their requests are over. Later requests are
// answered 503. It may be called again.
func (h *Handler) Close() error {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.end()
	h.inside.Wait()
	h.watches.close()
	return nil
}
