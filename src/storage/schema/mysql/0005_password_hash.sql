-- A password in a better form than md5, for installations that want it.

alter table IMUser add column `passwordHash` varchar(255) not null default '';
