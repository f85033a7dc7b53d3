package estest

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// unescapeTwice makes handlers see requests as servers see them. Servers unescape the path of a request when it
// arrives, and its parts once more when they take them from it. So clients must escape a name twice to be safe. A
// version that parses the unescaped path as a URL again takes / and \ for separators, ? for the start of the query and
// # for the end.
func (s *Server) unescapeTwice(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, query := r.URL.EscapedPath(), r.URL.RawQuery
		if s.core.persona.pathIsReadAgain {
			path, query = readAgain(unescape(path), query)
		}
		parts := strings.Split(path, "/")
		escaped := make([]string, len(parts))
		for i, part := range parts {
			if !s.core.persona.pathIsReadAgain {
				part = unescape(part)
			}
			parts[i] = unescape(part)
			escaped[i] = url.PathEscape(parts[i])
		}
		seen := r.WithContext(context.WithValue(r.Context(), sentKey{}, r.URL))
		seen.URL = new(url.URL)
		*seen.URL = *r.URL
		seen.URL.Path, seen.URL.RawPath = strings.Join(parts, "/"), strings.Join(escaped, "/")
		seen.URL.RawQuery = query
		next.ServeHTTP(w, seen)
	})
}

// sentKey is the key of the URL, as it was sent, in the context of a request.
type sentKey struct{}

// sentURL returns the URL by which a client can repeat its request: the request's own URL without double escapes.
func sentURL(r *http.Request) *url.URL {
	if sent, ok := r.Context().Value(sentKey{}).(*url.URL); ok {
		return sent
	}
	return r.URL
}

// readAgain splits a path that was unescaped before parsing into path and query.
func readAgain(unescaped, query string) (path, rest string) {
	before, _, ended := strings.Cut(unescaped, "#")
	path, rest, asks := strings.Cut(before, "?")
	switch {
	case ended:
	case asks && query != "":
		rest += "?" + query
	case !asks:
		rest = query
	}
	return strings.ReplaceAll(path, `\`, "/"), rest
}

// unescape keeps text that is no valid escape sequence.
func unescape(s string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "%")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		if len(after) >= 2 {
			if c, err := url.PathUnescape("%" + after[:2]); err == nil {
				b.WriteString(c)
				s = after[2:]
				continue
			}
		}
		b.WriteByte('%')
		s = after
	}
}
