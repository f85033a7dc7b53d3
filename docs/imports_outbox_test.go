//go:build never

// This file is never compiled. It keeps in go.mod what pages import by themselves, beside database/sql.

package docs

import _ "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
