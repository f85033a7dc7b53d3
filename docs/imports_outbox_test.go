//go:build never

// This file is never compiled. It keeps the modules in go.mod that pages import beside database/sql.

package docs

import _ "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
