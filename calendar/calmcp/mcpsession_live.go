package calmcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/perdure/perdure/durable"
)

// live is the SDK's side of a session: a server of its own, and its stock handler.
type live struct {
	h       *Handler
	caller  Caller
	self    *durable.Stub // the session's object, from outside
	index   *durable.Stub // its user's
	server  *mcp.Server
	handler http.Handler // of Streamable HTTP
	log     *liveLog
	send    mcp.MethodHandler // sends a notification
	life    context.Context   // of the SDK's side
	stop    context.CancelFunc
	base    context.Context // of the event, for calls that belong to no post; nil: none

	sse   *mcp.SSEServerTransport // of HTTP+SSE, once it is ready
	ready chan struct{}

	mu    sync.Mutex
	posts map[string]*post // guarded by mu; by number
	last  int              // guarded by mu
}

// newLive makes the SDK's side, which ends with the instance.
func newLive(h *Handler, s *mcpSession, user string) (*live, error) {
	id := s.id()
	l := &live{
		h: h, caller: Caller{User: user, Session: id}, self: h.session(id), index: h.user(user),
		log: &liveLog{
			self: h.session(id), instance: s.instance, maxEvents: h.opts.LogEvents, maxBytes: h.opts.LogBytes,
			streams: make(map[string]*liveStream),
		},
		posts: make(map[string]*post), ready: make(chan struct{}),
	}
	l.life, l.stop = context.WithCancel(context.Background())
	accept := func(context.Context, *mcp.SubscribeRequest) error { return nil }
	l.server = h.opts.Server(l.caller, &mcp.ServerOptions{
		GetSessionID:       func() string { return id },
		SubscribeHandler:   accept,
		UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
	})
	if l.server == nil {
		return nil, fmt.Errorf("calmcp: there is no server for user %s", user)
	}
	if err := refuseUnknown(l.server); err != nil {
		return nil, fmt.Errorf("calmcp: %w", err)
	}
	l.server.AddSendingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		l.send = next
		return next
	})
	l.server.AddReceivingMiddleware(l.receive)
	l.handler = mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return l.server }, &mcp.StreamableHTTPOptions{
		EventStore: l.log, MaxRequestBodyBytes: -1, // bounded where it came in
		DisableLocalhostProtection: true, // so are hosts
	})
	s.st.OnStop(l.close)
	return l, nil
}

// revive brings the SDK's session back into memory, by saying again what the client has
// said. Nothing waits for anything outside: the gate may stay shut.
func (s *mcpSession) revive(h *Handler) error {
	if s.live != nil {
		return nil
	}
	l, err := newLive(h, s, s.rec.User)
	if err != nil {
		return err
	}
	header := http.Header{"Accept": {"application/json, text/event-stream"}, "Content-Type": {"application/json"}}
	begin := newHeldAnswer()
	l.mute(begin, header, s.rec.Initialize)
	if !l.connected() {
		l.close()
		return fmt.Errorf("calmcp: session can't be brought back: %d %.200s", begin.status, begin.body.Bytes())
	}
	header.Set(sessionHeader, l.caller.Session)
	again := func(id int, method string, params any) {
		m := map[string]any{"jsonrpc": "2.0", "method": method}
		if params != nil {
			m["params"] = params
		}
		if id > 0 {
			m["id"] = "perdure-" + strconv.Itoa(id)
		}
		body, _ := json.Marshal(m) // strings in maps
		l.mute(newHeldAnswer(), header, body)
	}
	again(0, "notifications/initialized", nil)
	if s.rec.Level != "" {
		again(1, "logging/setLevel", map[string]any{"level": s.rec.Level})
	}
	id := 1
	for uri := range s.subs {
		id++
		again(id, "resources/subscribe", map[string]any{"uri": uri})
	}
	s.live = l
	return nil
}

// mute gives the handler a POST of which nothing is written down.
func (l *live) mute(w http.ResponseWriter, header http.Header, body []byte) {
	l.log.muted.Store(true)
	defer l.log.muted.Store(false)
	r := newPost(header, body)
	l.handler.ServeHTTP(w, r)
}

// connected says whether there is a session of the SDK's.
func (l *live) connected() bool {
	for range l.server.Sessions() {
		return true
	}
	return false
}

// closeTime is how long a handler may take to return when its context has ended.
const closeTime = 10 * time.Second

// close ends the SDK's session: what runs is told to stop. It may be called again.
func (l *live) close() {
	l.stop()
	var all sync.WaitGroup
	for ss := range l.server.Sessions() {
		all.Go(func() { ss.Close() })
	}
	done := make(chan struct{})
	go func() {
		all.Wait()
		close(done)
	}()
	limit := time.NewTimer(closeTime)
	defer limit.Stop()
	select {
	case <-done:
	case <-limit.C:
		l.h.log.Error("a call of a session that has ended does not return", "user", l.caller.User)
	}
}

// enter numbers a post, so that its messages find it.
func (l *live) enter(p *post) (number string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	number = strconv.Itoa(l.last)
	l.posts[number] = p
	return number
}

func (l *live) leave(number string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.posts, number)
}

// valuer is the part of a context that is asked for values.
type valuer interface{ Value(key any) any }

// eventOf returns what knows the event that a request belongs to, nil if nothing does.
func (l *live) eventOf(req mcp.Request) valuer {
	if extra := req.GetExtra(); extra != nil && extra.Header != nil {
		l.mu.Lock()
		p := l.posts[extra.Header.Get(postHeader)]
		l.mu.Unlock()
		if p != nil {
			p.out.arm()
			return p
		}
	}
	if l.base != nil {
		return l.base
	}
	return nil
}

// within is a context with the values of an event as well.
type within struct {
	context.Context
	event valuer
}

func (c within) Value(key any) any {
	if v := c.Context.Value(key); v != nil {
		return v
	}
	return c.event.Value(key)
}

// receive is around every request and notification of the client. It makes calls of the
// handler part of the object's event, ends them with the SDK's side, keeps a panic from
// ending the process, and has the session note what must outlive it.
func (l *live) receive(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (res mcp.Result, err error) {
		if event := l.eventOf(req); event != nil {
			ctx = within{ctx, event}
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(l.life, cancel)()
		defer recoverInto(l.h.log, method, &err)
		if l.log.muted.Load() {
			return next(ctx, method, req)
		}
		switch p := req.GetParams().(type) {
		case *mcp.SubscribeParams:
			return l.subscribe(ctx, p.URI, func() (mcp.Result, error) { return next(ctx, method, req) })
		case *mcp.UnsubscribeParams:
			if res, err = next(ctx, method, req); err == nil {
				err = l.unsubscribe(ctx, p.URI)
			}
		case *mcp.SetLoggingLevelParams:
			if res, err = next(ctx, method, req); err == nil {
				err = internal(l.h.log, durable.Exec(ctx, l.self, (*mcpSession).SetLevel, string(p.Level)))
			}
		default:
			return next(ctx, method, req)
		}
		if err != nil {
			return nil, err
		}
		return res, nil
	}
}

// recoverInto makes a panic of a handler an error.
func recoverInto(log *slog.Logger, method string, err *error) {
	if p := recover(); p != nil {
		log.Error("a handler panicked", "method", method, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		*err = &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: problemInternal.text}
	}
}

// internal hides what went wrong from the client and logs it.
func internal(log *slog.Logger, err error) error {
	if err == nil {
		return nil
	}
	log.Error("a session could not be saved", "error", err)
	return &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: problemInternal.text}
}

// subscribe notes a subscription, in the index first, then has the SDK enter it.
func (l *live) subscribe(ctx context.Context, uri string, enter func() (mcp.Result, error)) (mcp.Result, error) {
	if err := checkURI(uri); err != nil {
		return nil, err
	}
	at := watch{l.caller.Session, uri}
	err := durable.Exec(ctx, l.index, (*mcpUser).Watch, at)
	if err == nil {
		err = durable.Exec(ctx, l.self, (*mcpSession).Subscribe, uri)
	}
	if errors.Is(err, errTooManySubscriptions) {
		return nil, tooManySubscriptions(l.h.opts.MaxSubscriptions)
	}
	if err != nil {
		return nil, internal(l.h.log, err)
	}
	res, err := enter()
	if err == nil {
		return res, nil
	}
	if undo := l.unsubscribe(ctx, uri); undo != nil {
		return nil, undo
	}
	return nil, err // there is no such resource, or so
}

func (l *live) unsubscribe(ctx context.Context, uri string) error {
	err := durable.Exec(ctx, l.self, (*mcpSession).Unsubscribe, uri)
	if err == nil {
		err = durable.Exec(ctx, l.index, (*mcpUser).Unwatch, watch{l.caller.Session, uri})
	}
	return internal(l.h.log, err)
}

func tooManySubscriptions(limit int) error {
	return &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: fmt.Sprintf("more than %d subscriptions: unsubscribe from a resource first", limit)}
}

func checkURI(uri string) error {
	if len(uri) > maxWatchedURI {
		return &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: fmt.Sprintf("the URI is %d bytes long, limit %d", len(uri), maxWatchedURI)}
	}
	return nil
}

// deliver has the SDK send notifications on the standalone stream.
func (l *live) deliver(ctx context.Context, n note) {
	for _, uri := range n.URIs {
		l.server.ResourceUpdated(ctx, &mcp.ResourceUpdatedNotificationParams{URI: uri}) // logs its errors
	}
	if n.List {
		for ss := range l.server.Sessions() {
			l.send(ctx, methodListChanged, &mcp.ServerRequest[*mcp.ResourceListChangedParams]{Session: ss, Params: &mcp.ResourceListChangedParams{}})
		}
	}
}

const (
	methodListChanged = "notifications/resources/list_changed"
	methodUpdated     = "notifications/resources/updated"
)

// Notify tells the client what has changed of what it has subscribed to. It reports whether
// there is such a session.
func (s *mcpSession) Notify(ctx context.Context, n note) (known bool, err error) {
	if s.rec == nil && !s.sse {
		return false, nil
	}
	h, err := s.link.get()
	if err != nil {
		return false, err
	}
	n.URIs = slices.DeleteFunc(n.URIs, func(uri string) bool {
		_, subscribed := s.subs[uri]
		return !subscribed
	})
	if l := s.live; l != nil && (s.sse || s.listening() && !h.draining()) {
		return true, s.st.Await(ctx, func(ctx context.Context) error { l.deliver(ctx, n); return nil })
	}
	if s.sse {
		return true, nil
	}
	return true, s.writeDown(ctx, n)
}

// writeDown keeps notifications for a client that is not connected, each once: the SDK's
// side need not be in memory for it.
func (s *mcpSession) writeDown(ctx context.Context, n note) error {
	for _, uri := range n.URIs {
		if s.waits(s.subs[uri].Waiting) {
			continue
		}
		body, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "method": methodUpdated, "params": map[string]any{"uri": uri}})
		number, err := s.appendEvent(ctx, body, false)
		if err != nil {
			return err
		}
		sub := subscription{Waiting: number + 1}
		if err := s.st.Storage().Put(ctx, subscriptionPrefix+uri, &sub); err != nil {
			return fmt.Errorf("save subscription: %w", err)
		}
		s.subs[uri] = sub
	}
	if n.List && !s.waits(s.rec.ListWaiting) {
		body, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "method": methodListChanged})
		number, err := s.appendEvent(ctx, body, false)
		if err != nil {
			return err
		}
		s.rec.ListWaiting = number + 1
		return s.save(ctx)
	}
	return nil
}

// waits says whether an event, by its number plus one, is still to be given to the client.
func (s *mcpSession) waits(plusOne int64) bool {
	n := plusOne - 1
	return n >= 0 && n >= s.log.First && n >= s.log.Offered
}
