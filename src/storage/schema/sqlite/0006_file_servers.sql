-- Where clients reach the file_server that has a file: `host port`, several separated by `;`.

alter table IMTransmitFile add column `server` text not null default ''
    constraint too_long_server
    check (length(`server`) <= 255 and octet_length(`server`) <= 1020);
