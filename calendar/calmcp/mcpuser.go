package calmcp

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/perdure/perdure/durable"
)

// UserClass is the name of the class of users.
const UserClass = "MCPUser"

func userClass(link *Link) durable.Class {
	return durable.NewClass(UserClass, func(ctx context.Context, st *durable.State) (*mcpUser, error) {
		return newUser(ctx, st, link)
	}, nil)
}

// mcpUser is an object of class MCPUser, named by a user's id: which sessions the user has,
// which of them have subscribed to what, and the place where the requests of the revisions
// without sessions run. It calls nobody.
//
// Open subscriptions/listen streams are in its memory only: they end with the process, and
// their clients send the request again.
type mcpUser struct {
	st       *durable.State
	link     *Link
	sessions map[string]*userSession

	plain  *statelessSide // for calls
	listen *statelessSide // for streams

	mu       sync.Mutex
	requests map[string]int // under way, by path; guarded by mu
}

// userSession is a session in the index.
type userSession struct {
	sessionEntry
	uris map[string]struct{}
}

// sessionEntry is a key "s ID".
type sessionEntry struct {
	Used   int64 `cbor:"1,keyasint"`           // Unix milliseconds; may be a 60th of a lifetime too early
	Stream bool  `cbor:"2,keyasint,omitempty"` // of HTTP+SSE: gone unless it says that it is there
}

const (
	entryPrefix = "s" // followed by a session's id
	watchPrefix = "w" // followed by a session's id and a URI
	idLength    = 26
)

func newUser(ctx context.Context, st *durable.State, link *Link) (*mcpUser, error) {
	u := &mcpUser{st: st, link: link, sessions: make(map[string]*userSession), requests: make(map[string]int)}
	for e, err := range st.Storage().List(ctx, durable.ListOptions{Prefix: entryPrefix}) {
		if err != nil {
			return nil, err
		}
		var entry sessionEntry
		if err := e.Decode(&entry); err != nil {
			return nil, err
		}
		u.sessions[strings.TrimPrefix(e.Key, entryPrefix)] = &userSession{entry, map[string]struct{}{}}
	}
	for e, err := range st.Storage().List(ctx, durable.ListOptions{Prefix: watchPrefix}) {
		if err != nil {
			return nil, err
		}
		rest := strings.TrimPrefix(e.Key, watchPrefix)
		if len(rest) < idLength {
			continue
		}
		if s := u.sessions[rest[:idLength]]; s != nil {
			s.uris[rest[idLength:]] = struct{}{}
		}
	}
	return u, nil
}

// entry is a session on its way into the index, which holds Max at most.
type entry struct {
	Session string
	Entry   sessionEntry
	Max     int
}

// A session of HTTP+SSE says now and then that it is there. What a crash has left says
// nothing, and is out of the index after some time.
const (
	streamSays = time.Hour
	streamGone = 3 * time.Hour
)

// leaveMax is how many sessions one Enter takes out of the index: with all that they have
// subscribed to, more might be more than one turn may delete. The next Enter goes on.
const leaveMax = 32

// Enter enters a session, or notes that it was used. It returns those that are out of the
// index now, for lack of room or because they seem to be gone: the caller ends them.
func (u *mcpUser) Enter(ctx context.Context, e entry) (ended []string, err error) {
	for id, s := range u.sessions {
		if len(ended) < leaveMax && s.Stream && id != e.Session && s.Used < e.Entry.Used-streamGone.Milliseconds() {
			ended = append(ended, id)
		}
	}
	s := u.sessions[e.Session]
	if s == nil {
		if over := len(u.sessions) - len(ended) - max(e.Max, 1) + 1; over > 0 {
			ended = append(ended, u.oldest(min(over, leaveMax-len(ended)), ended)...)
		}
		s = &userSession{uris: map[string]struct{}{}}
	}
	for _, id := range ended {
		if err := u.Leave(ctx, id); err != nil {
			return nil, err
		}
	}
	if err := u.st.Storage().Put(ctx, entryPrefix+e.Session, &e.Entry); err != nil {
		return nil, fmt.Errorf("enter session: %w", err)
	}
	s.sessionEntry = e.Entry
	u.sessions[e.Session] = s
	return ended, nil
}

// oldest returns n sessions that were not used for the longest time, but for some.
func (u *mcpUser) oldest(n int, but []string) []string {
	var all []string
	for id := range u.sessions {
		if !slices.Contains(but, id) {
			all = append(all, id)
		}
	}
	slices.SortFunc(all, func(a, b string) int {
		return cmp.Or(cmp.Compare(u.sessions[a].Used, u.sessions[b].Used), cmp.Compare(a, b))
	})
	return all[:min(n, len(all))]
}

// Leave takes a session out of the index.
func (u *mcpUser) Leave(ctx context.Context, session string) error {
	s := u.sessions[session]
	if s == nil {
		return nil
	}
	if len(u.sessions) == 1 {
		return u.Forget(ctx)
	}
	keys := []string{entryPrefix + session}
	for uri := range s.uris {
		keys = append(keys, watchPrefix+session+uri)
	}
	for some := range slices.Chunk(keys, 128) {
		if _, err := u.st.Storage().DeleteMany(ctx, some); err != nil {
			return fmt.Errorf("take session out: %w", err)
		}
	}
	delete(u.sessions, session)
	return nil
}

// watch is a session that has subscribed to a resource.
type watch struct{ Session, URI string }

// Watch enters a subscription.
func (u *mcpUser) Watch(ctx context.Context, at watch) error {
	s := u.sessions[at.Session]
	if s == nil {
		return nil // it has ended, or is about to
	}
	if err := u.st.Storage().Put(ctx, watchPrefix+at.Session+at.URI, true); err != nil {
		return fmt.Errorf("enter subscription: %w", err)
	}
	s.uris[at.URI] = struct{}{}
	return nil
}

// Unwatch takes a subscription out.
func (u *mcpUser) Unwatch(ctx context.Context, at watch) error {
	s := u.sessions[at.Session]
	if s == nil {
		return nil
	}
	if _, watched := s.uris[at.URI]; !watched {
		return nil // of any length
	}
	if _, err := u.st.Storage().Delete(ctx, watchPrefix+at.Session+at.URI); err != nil {
		return fmt.Errorf("take subscription out: %w", err)
	}
	delete(s.uris, at.URI)
	return nil
}

// target is a session that has to be told something.
type target struct {
	Session string
	Note    note
}

// Notify tells the streams that are here, and returns the sessions that have to be told.
func (u *mcpUser) Notify(ctx context.Context, n note) ([]target, error) {
	var targets []target
	for id, s := range u.sessions {
		t := target{id, note{List: n.List}}
		for _, uri := range n.URIs {
			if _, watched := s.uris[uri]; watched {
				t.Note.URIs = append(t.Note.URIs, uri)
			}
		}
		if t.Note.List || len(t.Note.URIs) > 0 {
			targets = append(targets, t)
		}
	}
	if l := u.listen; l != nil {
		err := u.st.Await(ctx, func(ctx context.Context) error { l.tell(ctx, n); return nil })
		if err != nil {
			return nil, err
		}
	}
	return targets, nil
}

// watchedPage is how many resources a page of Watched holds.
const watchedPage = 1000

// Watched returns resources that somebody has subscribed to, in order, after one; fewer than
// watchedPage are the last.
func (u *mcpUser) Watched(ctx context.Context, after string) ([]string, error) {
	all := make(map[string]struct{})
	for _, s := range u.sessions {
		for uri := range s.uris {
			all[uri] = struct{}{}
		}
	}
	if u.listen != nil {
		u.listen.watched(all)
	}
	var page []string
	for uri := range all {
		if uri > after {
			page = append(page, uri)
		}
	}
	slices.Sort(page)
	return page[:min(len(page), watchedPage)], nil
}

// End ends the streams and calls that are here, and returns all sessions.
func (u *mcpUser) End(ctx context.Context) (all []string, err error) {
	for _, side := range []*statelessSide{u.plain, u.listen} {
		if side != nil {
			side.stop()
		}
	}
	u.plain, u.listen = nil, nil
	for id := range u.sessions {
		all = append(all, id)
	}
	return all, nil
}

// Forget deletes the index.
func (u *mcpUser) Forget(ctx context.Context) error {
	u.sessions = make(map[string]*userSession)
	if err := u.st.Storage().DeleteAll(ctx); err != nil {
		return fmt.Errorf("delete index: %w", err)
	}
	return nil
}

// ServeHTTP serves requests of the revisions without sessions.
func (u *mcpUser) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h, err := u.link.get()
	if err != nil {
		problemClosed.write(w)
		return
	}
	user := userIn(r)
	if name, known := u.st.Name(); !known || name != user || user == "" {
		problemNoUser.write(w)
		return
	}
	side, limit, path := &u.plain, h.opts.MaxCalls, r.URL.Path
	if path == pathListen {
		side, limit = &u.listen, h.opts.MaxStreams
	}
	if !u.enter(path, limit) {
		problemBusy(limit).write(w)
		return
	}
	defer u.leave(path)
	if *side == nil {
		made := newStatelessSide(h, user)
		if made == nil {
			problemInternal.write(w)
			return
		}
		*side = made
		u.st.OnStop(made.stop)
	}
	here := *side
	// The error is that nobody can be answered any more.
	_ = u.st.Await(r.Context(), func(ctx context.Context) error {
		here.serve(ctx, w, r)
		return nil
	})
}

func (u *mcpUser) enter(path string, limit int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.requests[path] >= limit {
		return false
	}
	u.requests[path]++
	return true
}

func (u *mcpUser) leave(path string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.requests[path]--
}

// statelessSide is a server of one user, and the SDK's handler for it: one for calls, and
// one for streams of notifications.
type statelessSide struct {
	h       *Handler
	user    string
	server  *mcp.Server
	handler http.Handler
	life    context.Context
	stop    context.CancelFunc

	mu   sync.Mutex
	uris map[string]int // how many streams want to know of it; guarded by mu
}

func newStatelessSide(h *Handler, user string) *statelessSide {
	t := &statelessSide{h: h, user: user, uris: make(map[string]int)}
	t.life, t.stop = context.WithCancel(context.Background())
	t.server = h.opts.Server(Caller{User: user}, &mcp.ServerOptions{
		SubscribeHandler:   func(context.Context, *mcp.SubscribeRequest) error { return nil },
		UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
	})
	if t.server == nil {
		return nil
	}
	t.server.AddReceivingMiddleware(t.receive)
	t.handler = mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return t.server }, &mcp.StreamableHTTPOptions{
		Stateless: true, PropagateRequestCancellation: true, // the client's leaving is how it cancels
		MaxRequestBodyBytes: -1, DisableLocalhostProtection: true,
	})
	return t
}

// serve serves a request inside Await, whose context is part of everything that it causes.
func (t *statelessSide) serve(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	listens := r.URL.Path == pathListen
	r.URL.Path = pathMCP
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(t.life, cancel)()
	defer context.AfterFunc(ctx, func() {
		if listens || !t.h.draining() { // then calls are finished
			cancel()
		}
	})()
	if !listens {
		out := &slow{w: w, every: t.h.opts.KeepAlive}
		t.handler.ServeHTTP(w, r.WithContext(context.WithValue(inner, slowKey{}, out)))
		out.end()
		return
	}
	out := newQueue(w, cancel)
	t.handler.ServeHTTP(out, r.WithContext(inner))
	out.close()
}

type slowKey struct{}

// receive is around every request: it keeps a panic from ending the process, and notes
// which resources streams want to know of.
func (t *statelessSide) receive(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (res mcp.Result, err error) {
		defer recoverInto(t.h.log, method, &err)
		if out, ok := ctx.Value(slowKey{}).(*slow); ok {
			out.arm()
		}
		p, ok := req.GetParams().(*mcp.SubscriptionsListenParams)
		if !ok || p == nil || p.Notifications == nil {
			return next(ctx, method, req)
		}
		uris := p.Notifications.ResourceSubscriptions
		if limit := t.h.opts.MaxSubscriptions; len(uris) > limit {
			return nil, tooManySubscriptions(limit)
		}
		for _, uri := range uris {
			if err := checkURI(uri); err != nil {
				return nil, err
			}
		}
		t.count(uris, 1)
		defer t.count(uris, -1)
		if len(uris) > 0 || p.Notifications.ResourcesListChanged {
			t.h.watches.hold(req, t.user, uris)
			defer t.h.watches.release(req, t.user)
		}
		return next(ctx, method, req)
	}
}

func (t *statelessSide) count(uris []string, by int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, uri := range uris {
		if t.uris[uri] += by; t.uris[uri] == 0 {
			delete(t.uris, uri)
		}
	}
}

// watched adds what streams want to know of.
func (t *statelessSide) watched(all map[string]struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for uri := range t.uris {
		all[uri] = struct{}{}
	}
}

// tell has the SDK notify the open streams.
func (t *statelessSide) tell(ctx context.Context, n note) {
	for _, uri := range n.URIs {
		t.server.ResourceUpdated(ctx, &mcp.ResourceUpdatedNotificationParams{URI: uri}) // logs its errors
	}
	if n.List {
		// The SDK says so when a resource is added. Of this server nobody lists resources.
		t.server.AddResource(&mcp.Resource{URI: "perdure:changed", Name: "changed"}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
			return nil, mcp.ResourceNotFoundError("perdure:changed")
		})
	}
}
