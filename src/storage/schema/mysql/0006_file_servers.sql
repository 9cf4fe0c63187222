-- Where clients reach the file_server that has a file: `host port`, several separated by `;`.

alter table IMTransmitFile add column `server` varchar(255) not null default '';
