package pgstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const maxDatabases = 256

// leaseConns is the number of connections for what package cluster asks, apart from
// reads, behind which it must not wait, and renewals.
const leaseConns = 4

// Database is one of the databases of a store: the home of the shards whose number,
// modulo the number of databases, is its index. Its methods may be called by any number
// of goroutines at once.
type Database struct {
	s     *Store
	index int
	where string // host, port and name, for messages; never the password

	config *pgx.ConnConfig
	reads  *pgxpool.Pool
	leases *pgxpool.Pool
	// renewals is one connection of their own: take-overs and settlements wait for locks, and
	// a lease must not run out meanwhile.
	renewals *pgxpool.Pool

	committers []*committer
	pending    pending

	checking chan struct{} // holds a value while somebody looks whether the schema is ours
	checked  atomic.Bool   // it is
}

// Index returns the database's place in the list given to Open.
func (d *Database) Index() int { return d.index }

// String says where the database is, without a password.
func (d *Database) String() string { return fmt.Sprintf("database %d (%s)", d.index, d.where) }

// Shards returns the numbers of the shards that lie here, in ascending order.
func (d *Database) Shards() []uint32 {
	var all []uint32
	for n := uint32(d.index); n < d.s.shards; n += uint32(len(d.s.dbs)) {
		all = append(all, n)
	}
	return all
}

// newDatabase prepares connections without making any.
func newDatabase(s *Store, index int, dsn string) (*Database, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		// The error may quote the string, and with it the password.
		return nil, fmt.Errorf("database %d: its address is neither a PostgreSQL URL (postgres://user@host:port/name) nor a connection string", index)
	}
	c := config.ConnConfig
	d := &Database{s: s, index: index, checking: make(chan struct{}, 1)}
	d.where = net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))) + "/" + c.Database
	ms := func(t time.Duration) string { return strconv.FormatInt(max(1, t.Milliseconds()), 10) }
	lease := s.opts.Lease
	for name, value := range map[string]string{
		// All bounded below the lease: what a node that is gone has under way must have
		// ended when its shards are taken over.
		"statement_timeout":                   ms(lease / 2),
		"lock_timeout":                        ms(lease / 4),
		"idle_in_transaction_session_timeout": ms(lease / 2),
		"tcp_user_timeout":                    ms(lease / 2),
		"tcp_keepalives_idle":                 strconv.Itoa(max(1, int((lease / 4).Seconds()))),
		"tcp_keepalives_interval":             "1",
		"tcp_keepalives_count":                "3",

		"default_transaction_isolation": "read committed",
		"default_transaction_read_only": "off",
		"client_min_messages":           "warning",
		"search_path":                   "",

		// Plans are made once, when the tables may be empty: only those by index are right
		// whatever becomes of the tables.
		"plan_cache_mode":   "force_generic_plan",
		"enable_seqscan":    "off",
		"enable_bitmapscan": "off",
		"enable_hashjoin":   "off",
		"enable_mergejoin":  "off",
		"jit":               "off",
	} {
		c.RuntimeParams[name] = value
	}
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "perdure"
	}
	if limit := max(lease/2, 5*time.Second); c.ConnectTimeout == 0 || c.ConnectTimeout > limit {
		c.ConnectTimeout = limit
	}
	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: max(time.Second, lease/4), Interval: time.Second, Count: 3}}
	c.DialFunc = dialer.DialContext
	c.ValidateConnect = d.validate
	d.config = c

	pool := func(conns int) (*pgxpool.Pool, error) {
		p := config.Copy()
		p.ConnConfig.OnNotice = keepWarning
		p.MaxConns, p.MinConns = int32(conns), 0
		return pgxpool.NewWithConfig(s.life, p)
	}
	if d.reads, err = pool(s.opts.MaxConns); err == nil {
		d.leases, err = pool(leaseConns)
	}
	if err == nil {
		d.renewals, err = pool(1)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return d, nil
}

// validate refuses connections that do not keep what is committed, or do not have the
// settings that were asked for. It is called for each new connection, since any may lead
// to another server than the one before.
func (d *Database) validate(ctx context.Context, conn *pgconn.PgConn) error {
	names := []string{"fsync", "synchronous_commit", "statement_timeout", "lock_timeout", "plan_cache_mode", "transaction_read_only"}
	var columns []string
	for _, name := range names {
		columns = append(columns, "(SELECT setting FROM pg_settings WHERE name = '"+name+"')")
	}
	// With the simple protocol, which no pooler needs to prepare anything for.
	// synchronous_commit is kept as it is now, whatever the server's configuration becomes.
	query := "SELECT current_setting('server_version_num'), " + strings.Join(columns, ", ") +
		", set_config('synchronous_commit', current_setting('synchronous_commit'), false)"
	checked := d.checked.Load()
	if checked {
		query += "; SELECT id, database FROM perdure.store"
	}
	results, err := conn.Exec(ctx, query).ReadAll()
	if err != nil {
		return err
	}
	if checked && (len(results[1].Rows) != 1 || string(results[1].Rows[0][0]) != d.s.id || string(results[1].Rows[0][1]) != strconv.Itoa(d.index)) {
		return fmt.Errorf("%s: its address leads to another database than before", d)
	}
	row := results[0].Rows[0]
	if v, _ := strconv.Atoi(string(row[0])); v < 140000 {
		return fmt.Errorf("%s runs PostgreSQL %d, but 14 or later is needed", d, v/10000)
	}
	value := map[string]string{}
	for i, name := range names {
		value[name] = string(row[i+1])
	}
	switch {
	case value["fsync"] != "on":
		return fmt.Errorf("%s runs with fsync=%s: a power failure would lose what it has confirmed", d, value["fsync"])
	case value["synchronous_commit"] == "off":
		return fmt.Errorf("%s: synchronous_commit=off: a crash would lose what it has confirmed", d)
	case value["transaction_read_only"] != "off":
		return fmt.Errorf("%s takes no writes: it is a replica, or set to read only", d)
	}
	for _, name := range []string{"statement_timeout", "lock_timeout", "plan_cache_mode"} {
		if want := d.config.RuntimeParams[name]; value[name] != want {
			return fmt.Errorf("%s: %s is %s, but this connection asked for %s: %s", d, name, value[name], want, poolerText)
		}
	}
	return nil
}

const poolerText = "a pooler between (PgBouncer in transaction mode) does not pass on the settings of a session; connect to PostgreSQL itself"

// wrap names the database in an error of a connection.
func (d *Database) wrap(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "08P01" && strings.Contains(pg.Message, "startup parameter") {
		return fmt.Errorf("%s: %s: %s", d, pg.Message, poolerText)
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", d, err)
}

// close closes all connections that are not in use.
func (d *Database) close() {
	if d.reads != nil {
		d.reads.Close()
	}
	if d.leases != nil {
		d.leases.Close()
	}
	if d.renewals != nil {
		d.renewals.Close()
	}
}
