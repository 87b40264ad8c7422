module mid

go 1.18
