-- Room for what the protocol allows: any message of 16 MiB, international phone numbers, and names
-- that were told apart by a number. Everything takes all of Unicode. Names of columns stay, so an
-- original server can work beside this one.
-- {n} stands for 0 to 7.

alter table IMMessage_{n} convert to character set utf8mb4 collate utf8mb4_bin,
    modify `content` mediumtext character set utf8mb4 collate utf8mb4_bin null;
alter table IMGroupMessage_{n} convert to character set utf8mb4 collate utf8mb4_bin,
    modify `content` mediumtext character set utf8mb4 collate utf8mb4_bin not null;
alter table IMUser add column `push_shield_status` tinyint(1) unsigned not null default '0';
alter table IMUser convert to character set utf8mb4 collate utf8mb4_bin,
    modify `name` varchar(64) character set utf8mb4 collate utf8mb4_bin not null default '',
    modify `phone` varchar(32) character set utf8mb4 collate utf8mb4_bin not null default '',
    modify `sign_info` varchar(128) character set utf8mb4 collate utf8mb4_bin not null default '';
alter table IMAudio convert to character set utf8mb4 collate utf8mb4_bin;
alter table IMDepart convert to character set utf8mb4 collate utf8mb4_bin;
alter table IMDiscovery convert to character set utf8mb4 collate utf8mb4_bin;
alter table IMGroup convert to character set utf8mb4 collate utf8mb4_bin;
alter table IMTransmitFile convert to character set utf8mb4 collate utf8mb4_bin;
