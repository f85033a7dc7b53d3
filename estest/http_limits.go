package estest

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// Limits of the HTTP server, so that no client holds a connection without need.
const (
	headerTime  = 3 * time.Second  // for the head of a request
	bodyTime    = 3 * time.Second  // for its body, from when the head was read
	idleTime    = 20 * time.Second // between two requests of a connection
	answerTime  = 5 * time.Second  // for the client to take the answer
	maxHeader   = 64 << 10
	maxHTTPBody = 1 << 20
	maxAppend   = 16 << 20 // the body of a request that appends events
)

// newWeb returns the HTTP server. It refuses a request that changes something with 403 if a browser sends it from the
// page of another site; clients other than browsers do not send the headers that it checks.
func (s *Server) newWeb() *http.Server {
	return &http.Server{
		Handler:           http.NewCrossOriginProtection().Handler(s.handler()),
		ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(s.cfg.logger.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.Background(), processKey{}, s.halt)
		},
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, nc)
		},
	}
}

// processKey is the key, in the context of a request, of a channel that is closed when the process ends.
type processKey struct{}

// connKey is the key of a request's connection in its context.
type connKey struct{}

// limitAnswer bounds how long a client may take to read the answer. The limit starts at the call, like the limit of a
// body, and again after an answer was buffered.
func limitAnswer(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTime))
}

// limitBodies bounds the bodies of requests. The limit of time begins here and is one of reading only: ReadTimeout of
// net/http would end the requests that a paused server holds.
func limitBodies(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.ContentLength != 0 {
			limit := int64(maxHTTPBody)
			if strings.HasPrefix(r.URL.Path, "/streams/") {
				limit = maxAppend
			}
			b := &body{ReadCloser: http.MaxBytesReader(w, r.Body, limit), ctl: http.NewResponseController(w)}
			b.nc, _ = r.Context().Value(connKey{}).(net.Conn)
			_ = b.ctl.SetReadDeadline(time.Now().Add(bodyTime)) // a connection that has ended fails at the next read
			r.Body = b
		}
		next.ServeHTTP(w, r)
	})
}

// body is that of a request, whose sender has until the read deadline.
type body struct {
	io.ReadCloser
	ctl *http.ResponseController
	nc  net.Conn
}

// Read resets the connection of a slow sender: an answer would hold the connection longer.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		_ = b.ctl.SetReadDeadline(time.Time{})
	case errors.Is(err, os.ErrDeadlineExceeded):
		if c, ok := b.nc.(*tls.Conn); ok {
			b.nc = c.NetConn()
		}
		if c, ok := b.nc.(*net.TCPConn); ok {
			_ = c.SetLinger(0)
			_ = c.Close()
		}
	}
	return n, err
}
