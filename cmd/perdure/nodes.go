package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/perdure/perdure/calendar/worker"
	"github.com/perdure/perdure/cluster"
	"github.com/perdure/perdure/cluster/peer"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/pgstore"
)

// clusterFlags say that this process is one of several on the same databases.
type clusterFlags struct {
	PeerAddr   string `name:"peer-addr" help:"Address under which other nodes reach this one: serve together with all who use the same --store postgres://… and have the same PERDURE_CLUSTER_SECRET." placeholder:"HOST:PORT"`
	PeerListen string `name:"peer-listen" help:"Address to listen on for other nodes. Default: that of --peer-addr." placeholder:"HOST:PORT"`
	StrictRead bool   `name:"strict" help:"Have the database confirm ownership before every answer, so that no clock is trusted."`
}

// configure checks what was said. together says whether this process is one of several.
func (f *clusterFlags) configure(cfg *config, at place) (together bool, err error) {
	cfg.secret = cfg.variable("PERDURE_CLUSTER_SECRET")
	if f.PeerAddr == "" {
		if f.PeerListen != "" || f.StrictRead {
			return false, usageError("--peer-listen and --strict need --peer-addr")
		}
		return false, nil
	}
	if !at.shared() {
		return false, usageError("--peer-addr needs --store postgres://…: other nodes must reach the data")
	}
	host, port, err := net.SplitHostPort(f.PeerAddr)
	if err != nil {
		return false, usageError(fmt.Sprintf("--peer-addr %q: must be HOST:PORT", f.PeerAddr))
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		return false, usageError(fmt.Sprintf("--peer-addr %q: must be an address under which other nodes reach this one; see --peer-listen", f.PeerAddr))
	}
	if port == "0" && f.PeerListen != "" {
		return false, usageError(fmt.Sprintf("--peer-addr %q: with --peer-listen it needs a port", f.PeerAddr))
	}
	if cfg.secret == "" {
		return false, usageError(fmt.Sprintf("--peer-addr needs PERDURE_CLUSTER_SECRET, the same on all nodes, of at least %d bytes, "+
			"for instance from: openssl rand -hex 32", peer.MinSecret))
	}
	return true, nil
}

// member is this process's part in a cluster.
type member struct {
	name     string
	listener net.Listener
	peers    *peer.Transport
	store    *pgstore.Store
	node     atomic.Pointer[cluster.Node]
	control  atomic.Pointer[http.Handler] // of other processes' commands, once there is a worker
	worker   atomic.Pointer[worker.Worker]
	log      *slog.Logger
	served   chan error
}

// Paths of requests between nodes besides those of package durable.
const (
	controlPath = "/control"
	expelPath   = "/expel"
)

// join prepares the process's part. The caller has to call [member.start] with a runtime on the store next.
func (f *clusterFlags) join(ctx context.Context, cfg *config, at place, grace time.Duration, log *slog.Logger) (m *member, err error) {
	m = &member{log: log, served: make(chan error, 1)}
	listen := f.PeerListen
	if listen == "" {
		listen = f.PeerAddr
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, err
	}
	m.listener = listener
	defer func() {
		if err != nil {
			listener.Close()
		}
	}()
	m.name = f.PeerAddr
	if strings.HasSuffix(m.name, ":0") {
		m.name = m.listener.Addr().String()
	}
	m.peers, err = peer.New(peer.Options{Secret: cfg.secret, Logger: log, Told: func(msg []byte) { m.node.Load().Told(msg) }})
	if err != nil {
		return nil, fmt.Errorf("PERDURE_CLUSTER_SECRET: %w", err)
	}
	opening, cancel := context.WithTimeout(ctx, openPatience)
	defer cancel()
	m.store, err = pgstore.Open(opening, at.databases, &pgstore.Options{
		Logger: log, Lost: func(shard uint32, epoch int64) { m.node.Load().Lost(shard, epoch) },
	})
	if err != nil {
		return nil, err
	}
	if err := m.knowEachOther(ctx); err != nil {
		return nil, errors.Join(err, m.store.Close())
	}
	node, err := cluster.New(m.store, &cluster.Options{Name: m.name, Peers: m.peers, Strict: f.StrictRead, Grace: grace, Logger: log})
	if err != nil {
		return nil, errors.Join(err, m.store.Close())
	}
	m.node.Store(node)
	return m, nil
}

// knowEachOther refuses to join nodes that have another secret: shards that this node
// took could be reached by nobody.
func (m *member) knowEachOther(ctx context.Context) error {
	names, err := liveNodes(ctx, m.store)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	results := make(chan error, len(names))
	for _, name := range names {
		go func() { results <- m.peers.Ping(ctx, name) }()
	}
	for range names {
		switch err := <-results; {
		case errors.Is(err, peer.ErrSecret):
			return fmt.Errorf("PERDURE_CLUSTER_SECRET is not that of the nodes that run: %w", err)
		case err != nil: // it may have died just now
			m.log.Warn("a node of the cluster cannot be reached", "error", err)
		}
	}
	return nil
}

// pingTime is how long nodes have to answer one that joins.
const pingTime = 5 * time.Second

// start takes part in the cluster with a runtime whose placement is the node.
func (m *member) start(rt *durable.Runtime) {
	mux := http.NewServeMux()
	mux.Handle("/", rt.Peers())
	mux.HandleFunc(controlPath+"/", func(w http.ResponseWriter, r *http.Request) {
		if h := m.control.Load(); h != nil {
			http.StripPrefix(controlPath, *h).ServeHTTP(w, r)
			return
		}
		http.Error(w, "this node is starting", http.StatusServiceUnavailable)
	})
	mux.HandleFunc("POST "+expelPath, func(w http.ResponseWriter, r *http.Request) {
		if h := m.worker.Load(); h != nil { // else nobody can have come in
			if err := h.Expel(r.Context(), r.URL.Query().Get("user")); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		w.WriteHeader(http.StatusNoContent)
	})
	go func() { m.served <- m.peers.Serve(m.listener, mux, rt.PeerCall) }()
	m.node.Load().Start(rt)
}

// serves makes the worker known to the other nodes. A nil member is no part of a cluster.
func (m *member) serves(h *host) {
	if m == nil {
		return
	}
	m.worker.Store(h.worker)
	control := h.worker.Control()
	m.control.Store(&control)
}

// elsewhere has all other nodes end a user's requests.
func (m *member) elsewhere(ctx context.Context, user string) error {
	names, err := liveNodes(ctx, m.store)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if name == m.name {
			continue
		}
		if err := m.expelAt(ctx, name, user); err != nil {
			errs = append(errs, fmt.Errorf("node %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func (m *member) expelAt(ctx context.Context, name, user string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://node"+expelPath+"?user="+url.QueryEscape(user), nil)
	if err != nil {
		return err
	}
	resp, err := m.peers.Peer(name).RoundTrip(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(text)))
	}
	return nil
}

// liveNodes returns the names, which are addresses, of the nodes that the database knows to live.
func liveNodes(ctx context.Context, st *pgstore.Store) ([]string, error) {
	v, err := st.Databases()[0].ReadMap(ctx)
	if err != nil {
		return nil, fmt.Errorf("nodes: %w", err)
	}
	var names []string
	for _, n := range v.Nodes {
		if !n.Ended {
			names = append(names, n.Name)
		}
	}
	return names, nil
}

// leave hands all shards over, while everything else goes on.
func (m *member) leave(ctx context.Context) {
	if err := m.node.Load().Leave(ctx); err != nil {
		m.log.Warn("shards were not handed over in good order", "error", err)
	}
}

// close ends the rest, when the runtime has ended. A nil member is no part of a cluster.
func (m *member) close(ctx context.Context) error {
	if m == nil {
		return nil
	}
	ending, cancel := lastWords(ctx)
	defer cancel()
	m.peers.Shutdown(ending)
	err := errors.Join(m.node.Load().Close(), m.peers.Close())
	return errors.Join(err, <-m.served)
}

// overPeers returns a client for the commands of a node that lives somewhere, or nil if there is none.
func (cfg *config) overPeers(ctx context.Context, at place, log *slog.Logger) (*controlClient, func(), error) {
	st, err := pgstore.Open(ctx, at.databases, &pgstore.Options{Logger: log})
	if err != nil {
		return nil, nil, err
	}
	names, err := liveNodes(ctx, st)
	err = errors.Join(err, st.Close())
	if err != nil || len(names) == 0 {
		return nil, nil, err
	}
	secret := cfg.variable("PERDURE_CLUSTER_SECRET")
	if secret == "" {
		return nil, nil, nil
	}
	t, err := peer.New(peer.Options{Secret: secret, Logger: log})
	if err != nil {
		return nil, nil, err
	}
	last := fmt.Errorf("no node answers")
	for _, name := range names {
		c := &controlClient{&http.Client{Transport: controlOf{t.Peer(name)}}}
		var some []worker.ControlUser
		if last = c.call(ctx, http.MethodGet, "/users", nil, &some); last == nil {
			return c, func() { t.Close() }, nil
		}
	}
	t.Close()
	return nil, nil, fmt.Errorf("the data is served by %s: %w", strings.Join(names, ", "), last)
}

// controlOf sends a command's requests to a node.
type controlOf struct{ peer durable.Peer }

func (c controlOf) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Path = controlPath + r.URL.Path
	if r.URL.RawPath != "" {
		r.URL.RawPath = controlPath + r.URL.RawPath
	}
	return c.peer.RoundTrip(r)
}
