package pgstore

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// session is a committer's connection.
type session struct {
	conn *pgconn.PgConn

	// warned is set when the server warns while a statement runs. A wait for synchronous
	// replicas that is broken off ends so: with success, although no replica has it.
	warned error

	prepared map[string]bool // by the names of statements
}

// warnedKey is where a connection of the pools keeps what its server last warned of.
const warnedKey = "perdure.warned"

// keepWarning notes a warning for warning.
func keepWarning(conn *pgconn.PgConn, n *pgconn.Notice) {
	if n.SeverityUnlocalized == "WARNING" {
		conn.CustomData()[warnedKey] = errors.New(n.Message)
	}
}

// warning returns what the server has warned of since the last call, or nil.
func warning(conn *pgconn.PgConn) error {
	err, _ := conn.CustomData()[warnedKey].(error)
	delete(conn.CustomData(), warnedKey)
	return err
}

// commitName begins the names of the statements that commit.
const commitName = "commit"

// connect makes the committer's connection.
func (c *committer) connect(ctx context.Context) error {
	if c.conn != nil && !c.conn.conn.IsClosed() {
		return nil
	}
	c.disconnect()
	if err := c.d.ready(ctx); err != nil {
		return err
	}
	s := &session{prepared: map[string]bool{}}
	config := c.d.config.Config.Copy()
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if n.SeverityUnlocalized == "WARNING" {
			s.warned = errors.New(n.Message)
		}
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return c.d.wrap(err)
	}
	s.conn, c.conn = conn, s
	return nil
}

func (c *committer) disconnect() {
	if c.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), c.d.s.opts.Lease/4)
		defer cancel()
		c.conn.conn.Close(ctx)
		c.conn = nil
	}
}

// errNotSent says that a statement was not sent.
type errNotSent struct{ error }

func (e errNotSent) Unwrap() error { return e.error }

// send executes the statement that has been built and returns which fences held.
func (c *committer) send() ([]bool, error) {
	// The server's own timeouts are shorter.
	ctx, cancel := context.WithTimeout(context.Background(), c.d.s.opts.Lease*3/4)
	defer cancel()
	if err := c.connect(ctx); err != nil {
		return nil, errNotSent{err}
	}
	s := c.conn
	st := c.group.statement(c.writer, c.number)
	if !s.prepared[st.name] {
		if _, err := s.conn.Prepare(ctx, st.name, st.sql, st.types); err != nil {
			return nil, errNotSent{c.d.wrap(err)}
		}
		s.prepared[st.name] = true
	}
	s.warned = nil
	result := s.conn.ExecPrepared(ctx, st.name, st.values, binaryFormat, nil).Read()
	if result.Err != nil {
		if pgconn.SafeToRetry(result.Err) {
			return nil, errNotSent{c.d.wrap(result.Err)}
		}
		if outlived(result.Err) {
			c.disconnect()
			return nil, errNotSent{c.d.wrap(result.Err)}
		}
		return nil, c.d.wrap(result.Err)
	}
	if s.warned != nil {
		return nil, c.d.wrap(s.warned)
	}
	var ok []bool
	if len(result.Rows) == 1 {
		ok = parseBools(string(result.Rows[0][0]))
	}
	if len(ok) != len(c.group.shards) {
		return nil, c.d.wrap(errors.New("the statement does not say which batches it applied"))
	}
	return ok, nil
}

// All parameters are binary, the result is text.
var binaryFormat = []int16{1}

// parseBools parses an array like {t,f,t}.
func parseBools(text string) (all []bool) {
	for _, v := range strings.Split(strings.Trim(text, "{}"), ",") {
		all = append(all, v == "t")
	}
	return all
}

// outlived reports whether an error says that a session is of no more use, although it
// goes on: its server takes no writes any more, or a prepared statement or its plan is gone.
func outlived(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.SeverityUnlocalized != "ERROR" {
		return false
	}
	return pg.Code == "25006" || pg.Code == "26000" || pg.Code == "0A000"
}

// timedOut reports whether a statement was given up because it took too long.
func timedOut(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "55P03" || pg.Code == "57014")
}

// kind is what an error of a statement says about it.
type kind int

const (
	fine     kind = iota
	notSent       // the server has not got it, or another connection is needed
	rejected      // not applied, because of what is in it
	conflict      // not applied, because of what else is going on
	unclear       // it may have been applied, or may yet be
)

// kindOf classifies the error of a statement. See the table in docs/format.md.
func kindOf(err error) kind {
	if err == nil {
		return fine
	}
	var ns errNotSent
	if errors.As(err, &ns) {
		return notSent
	}
	var pg *pgconn.PgError
	// With an ERROR the transaction has been rolled back. FATAL ends the session, which
	// may have committed before.
	if !errors.As(err, &pg) || pg.SeverityUnlocalized != "ERROR" {
		return unclear
	}
	switch pg.Code {
	case "40001", "40P01", "55P03": // serialization, deadlock, lock timeout
		return conflict
	}
	return rejected
}
