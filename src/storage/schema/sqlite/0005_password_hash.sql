-- A password in a better form than md5, for installations that want it.

alter table IMUser add column `passwordHash` text not null default ''
    constraint too_long_passwordHash
    check (length(`passwordHash`) <= 255 and octet_length(`passwordHash`) <= 1020);
